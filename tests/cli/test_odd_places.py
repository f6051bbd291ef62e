"""Places that mean something else than they seem to: empty ones, links to themselves, results among the images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core import RunConfig
from panda_core.cli import main
from panda_core.datasets.io.listing import list_files
from panda_core.runs.watch import FollowedFolder

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder of ten photos, and a link that leads to itself among them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    for name in ("4 loop.png", "5 loop"):
        (folder / name).symlink_to(name)
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["score", "RUN", ""],
        ["score", "RUN", "PHOTOS", "--maps", ""],
        ["score", "RUN", "PHOTOS", "--report="],
        ["score", "RUN", "", "--watch"],
        ["accept", "RUN", ""],
        ["run", "--dataset", "digits", "--roi", ""],
        ["run", "--dataset", "digits", "--roi="],
        ["segment", "--dataset", "digits", "--runs-dir", ""],
        ["datasets", "--data-root", ""],
        ["list", "--runs-dir="],
    ],
)
def test_an_empty_argument_is_refused(
    arguments: list[str], photos: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The current folder judged, or a region of interest left out, since a variable of a script had no value."""
    monkeypatch.chdir(tmp_path)
    assert main([str(photos) if one == "PHOTOS" else one for one in arguments]) == 2
    said = capsys.readouterr()
    assert "is empty: perhaps a variable without a value" in said.err and said.out == ""


def test_a_link_to_itself_hides_nothing(
    photos: Path, finish: Callable[..., Any], spot: Callable[..., RunConfig], capsys: Capture
) -> None:
    """A traceback; or a watched folder of which the images listed after such a link are never judged."""
    listed = list_files(photos)
    assert len(listed.images) == 11 and listed.others == []
    seen = FollowedFolder(photos)
    seen.look(0)
    assert len(seen.look(1)) == 10 and seen.problem == ""
    run = finish(spot())[0].path
    assert main(["score", str(run), str(photos), "--json"]) == 0
    rows = {Path(row["path"]).name: row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) == 11 and "Too many levels" in rows["4 loop.png"]["verdict"]
    assert all(row["score"] is not None for name, row in rows.items() if "loop" not in name)


def test_maps_are_not_written_among_the_images(
    photos: Path, finish: Callable[..., Any], spot: Callable[..., RunConfig], capsys: Capture, tmp_path: Path
) -> None:
    """Maps that are judged, or learned from, the next time."""
    run, inside = finish(spot())[0].path, str(photos / "deep" / "maps")
    for command in (["score", str(run), str(photos)], ["segment", "--dataset", f"folder:{photos}"]):
        assert main([*command, "--maps", inside]) == 2
        assert f"`--maps` must lie outside of `{photos}`" in capsys.readouterr().err
    assert not (photos / "deep").exists()
    assert main(["score", str(run), str(photos / "3.png"), "--maps", str(tmp_path / "maps")]) == 0


def test_runs_among_the_images_are_no_images(
    photos: Path, finish: Callable[..., Any], tiny: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """The region of a run, or a corrected image, learned from by the next: `--dataset folder:.` and `runs` below it."""
    before = list_files(photos).images
    Image.fromarray(np.kron([[0, 1], [1, 1]], np.full((12, 12), 255)).astype(np.uint8)).save(tmp_path / "roi.png")
    for name in ("4 loop.png", "5 loop"):
        (photos / name).unlink()
    config = tiny(
        recipe="frozen",
        steps=None,
        dataset=f"folder:{photos}",
        normal_class=None,
        train_limit=None,
        test_limit=None,
        roi=str(tmp_path / "roi.png"),
        runs_dir=str(photos / "runs"),
    )
    folder = finish(config)[0]
    assert (folder.path / "roi.png").is_file()
    assert list_files(photos).images == [name for name in before if "loop" not in name]
    assert main(["verify", str(folder.path)]) == 0
    assert list_files(folder.path).images == ["roi.png"]  # whoever names a run's folder means it
