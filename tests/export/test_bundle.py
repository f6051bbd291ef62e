"""Bundles: the run's own scores, from files that hold nothing else and that no damage gets past; the command."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core import BrokenRun, RunConfig, UsageError, load_bundle, load_run
from panda_core.cli import main
from panda_core.export import opening
from panda_core.export.bundle import impersonal, write_bundle
from panda_core.export.opening import MANIFEST, sealed
from panda_core.segmentation.table import SEGMENTERS

Tiny = Callable[..., RunConfig]
Finish = Callable[..., Any]
RESAD = {"seen": "4@digits,5@digits", "seen_limit": 8, "blocks": 1, "position_width": 8}


def pictures(side: int = 32, count: int = 7) -> list[np.ndarray]:
    return list(np.random.default_rng(3).integers(0, 256, (count, side, side, 3), dtype=np.uint8))


@pytest.fixture
def bundled(tiny: Tiny, finish: Finish, tmp_path: Path) -> tuple[Path, Path]:
    """Return (run folder, folder of its bundle) of a run with a kNN gallery."""
    folder, _ = finish(tiny(recipe="panda-early"))
    write_bundle(load_run(folder.path), tmp_path / "bundle")
    return folder.path, tmp_path / "bundle"


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "fields",
    [
        {"recipe": "panda-early", "scorer": "mahalanobis"},
        {"recipe": "panda-ses", "set": {"ses_start": "include"}},
        {"recipe": "panda-ses", "scorer": "relative-mahalanobis"},
        {"recipe": "panda-oe"},
        {"recipe": "mhrot"},
        {"recipe": "ocsvm", "steps": None},
        *({"recipe": key, "steps": None, "batch_size": 32, "lr": None, "eval_every": None} for key in SEGMENTERS),
        {"recipe": "resad", "eval_every": None, "lr": 1e-3, "steps": 2, "set": RESAD},
    ],
    ids=lambda fields: fields["recipe"],
)
def test_a_bundle_scores_as_its_run(
    tiny: Tiny, finish: Finish, tmp_path: Path, fields: dict[str, Any], zipped: bool
) -> None:
    """A file of the run that its detector needs and the bundle lacks; a bundle that needs the run or its data."""
    if fields["recipe"] in SEGMENTERS:
        fields = {**fields, "dataset": "synthetic:digits"}
    folder, _ = finish(tiny(**fields))
    wanted = load_run(folder.path).detector()
    target = tmp_path / ("b.zip" if zipped else "b")
    bundle = write_bundle(load_run(folder.path), target)
    scores, held_out = wanted.anomaly_scores(pictures()), wanted.held_out_scores
    folder.path.rename(tmp_path / "gone")
    detector = load_bundle(target)
    np.testing.assert_array_equal(detector.anomaly_scores(pictures()), scores)
    np.testing.assert_array_equal(detector.held_out_scores, held_out)
    assert detector.threshold() == wanted.threshold()
    if not zipped:
        found = [path for path in target.rglob("*") if path.is_file()]
        assert {path.suffix for path in found} <= {".json", ".jsonl", ".safetensors"} and len(found) == bundle.files


def test_a_bundle_brings_the_adapted_network(tiny: Tiny, finish: Finish, tmp_path: Path) -> None:
    """Maps of the pretrained network in place of the adapted one, once the run that adapted it is elsewhere."""
    adapted, _ = finish(tiny(recipe="panda-early", lr=0.5))
    changes = {"steps": None, "eval_every": None, "lr": None, "batch_size": 32, "dataset": "synthetic:digits"}
    folder, _ = finish(tiny(recipe="patchcore", set={"adapted": str(adapted.path)}, **changes))
    maps = load_run(folder.path).detector().anomaly_maps(pictures(count=2))
    write_bundle(load_run(folder.path), tmp_path / "b.zip")
    shutil.rmtree(tmp_path / "runs")
    np.testing.assert_array_equal(load_bundle(tmp_path / "b.zip").anomaly_maps(pictures(count=2)), maps)


def test_a_bundle_takes_references_of_a_new_class(tiny: Tiny, finish: Finish, tmp_path: Path) -> None:
    """References that are ignored, so that new classes are compared with old ones."""
    folder, _ = finish(tiny(recipe="resad", eval_every=None, lr=1e-3, steps=2, set=RESAD))
    write_bundle(load_run(folder.path), tmp_path / "b")
    wanted = load_run(folder.path).generalizer(pictures(count=3)).anomaly_scores(pictures())
    found = load_bundle(tmp_path / "b", references=pictures(count=3)).anomaly_scores(pictures())
    np.testing.assert_array_equal(found, wanted)


def test_two_bundles_of_a_run_are_the_same_file(tiny: Tiny, finish: Finish, tmp_path: Path) -> None:
    """A hash of a bundle that says nothing, because the time of day is in it."""
    folder, _ = finish(tiny(recipe="frozen", steps=None))
    for name in ("a.zip", "b.zip"):
        write_bundle(load_run(folder.path), tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_bundle_tells_nothing_of_the_machine(bundled: tuple[Path, Path], tmp_path: Path) -> None:
    """The name of a user, of a folder or of an image, handed to whoever gets the bundle."""
    run, bundle = bundled
    names = set(load_run(run).split.train)
    for path in bundle.rglob("*"):
        if path.suffix in (".json", ".jsonl"):
            text = path.read_text()
            assert str(tmp_path) not in text and not any(f'"{name}"' in text for name in names)
    config = RunConfig(dataset="folder:/home/me/screws", set={"seen": "4@folder:/a/b,5@digits", "outliers": "/x/y"})
    shown = impersonal(config)
    assert "/" not in shown.dataset and dict(shown.set) == {"seen": "4@folder:b,5@digits", "outliers": "y"}
    assert not shown.data_root and not shown.runs_dir


def test_any_changed_byte_is_noticed(bundled: tuple[Path, Path]) -> None:
    """A score from a file that is no longer what was exported."""
    _, bundle = bundled
    rng = np.random.default_rng(0)
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for place in {0, len(whole) - 1, *rng.integers(0, len(whole), 4).tolist()}:
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises((BrokenRun, UsageError)) as caught:
                load_bundle(bundle)
            assert isinstance(caught.value, BrokenRun) or path.name == MANIFEST
        path.write_bytes(whole[:-1])
        with pytest.raises(BrokenRun):
            load_bundle(bundle)
        path.write_bytes(whole)
    load_bundle(bundle)


def test_missing_and_strange_files_are_noticed(bundled: tuple[Path, Path], tmp_path: Path) -> None:
    """Half a bundle, or one with a passenger."""
    _, bundle = bundled
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        path.rename(tmp_path / "aside")
        kind, words = (UsageError, "is no bundle") if path.name == MANIFEST else (BrokenRun, f"lacks `.*{path.name}`")
        with pytest.raises(kind, match=words):
            load_bundle(bundle)
        (tmp_path / "aside").rename(path)
    (bundle / "galleries" / "setup.py").write_text("")
    with pytest.raises(BrokenRun, match=r"galleries/setup\.py` *, which belongs to no bundle"):
        load_bundle(bundle)


def reseal(bundle: Path, **changes: Any) -> None:
    """Write a manifest with other entries and a seal that fits them."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    del manifest["sha256"]
    (bundle / MANIFEST).write_bytes(sealed({**manifest, **changes}))


def test_a_newer_version_and_another_format_are_refused(bundled: tuple[Path, Path], tmp_path: Path) -> None:
    """A bundle misread by a program that is older than its meaning."""
    _, bundle = bundled
    reseal(bundle, version=opening.VERSION + 1)
    with pytest.raises(UsageError, match="is of version 3; this program reads versions up to 2"):
        load_bundle(bundle)
    reseal(bundle, version=opening.VERSION - 1)
    with pytest.raises(UsageError, match=r"is of version 1.*Export the run again"):
        load_bundle(bundle)
    reseal(bundle, version=opening.VERSION, format="other")
    with pytest.raises(UsageError, match="is of another format"):
        load_bundle(bundle)
    with pytest.raises(UsageError, match="There is no bundle"):
        load_bundle(tmp_path / "nothing.zip")


def test_other_pretrained_weights_are_noticed(bundled: tuple[Path, Path]) -> None:
    """An adapted tail behind a trunk that it was never trained with."""
    _, bundle = bundled
    reseal(bundle, weights_sha256="1" * 64)
    with pytest.raises(BrokenRun, match="was made with other weights of `tiny`"):
        load_bundle(bundle)


@pytest.mark.parametrize("name", ["../evil.json", "/evil.json", "galleries/../../evil.json", "a\\..\\evil.json"])
def test_a_name_that_leads_out_is_refused(bundled: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    """A zip, or a manifest, that reads or writes where it should not."""
    _, bundle = bundled
    files = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*") if path.is_file()}
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for inside, path in files.items():
            archive.write(path, inside)
        archive.writestr(name, "{}")
    with pytest.raises(BrokenRun, match="belongs to no bundle"):
        load_bundle(tmp_path / "b.zip")
    assert not list(tmp_path.parent.rglob("evil.json"))
    listed = json.loads((bundle / MANIFEST).read_text())["files"]
    reseal(bundle, files={**listed, name: {"sha256": "0" * 64, "bytes": 2}})
    with pytest.raises(BrokenRun, match="belongs to no bundle"):
        load_bundle(bundle)


def test_a_zip_cut_short_or_doubled_is_refused(bundled: tuple[Path, Path], tmp_path: Path) -> None:
    """A download that broke off; two files of one name, of which one is checked and the other used."""
    run, bundle = bundled
    write_bundle(load_run(run), tmp_path / "b.zip")
    (tmp_path / "half.zip").write_bytes((tmp_path / "b.zip").read_bytes()[:3000])
    with pytest.raises(BrokenRun, match="cannot be read as a zip"):
        load_bundle(tmp_path / "half.zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.write(bundle / "config.json", "config.json")
    with pytest.raises(BrokenRun, match="a name twice"):
        load_bundle(tmp_path / "b.zip")


# the command


def test_the_command_writes_what_it_is_asked_for(
    bundled: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit codes and lines that a script cannot rely on."""
    run, bundle = str(bundled[0]), bundled[1]
    capsys.readouterr()
    assert main(["export", run, str(tmp_path / "a.pt"), "--format", "torchscript", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["difference"] <= 1e-4 and said["bytes"] == (tmp_path / "a.pt").stat().st_size
    assert main(["export", run, str(tmp_path / "a.zip"), "--format", "bundle"]) == 0
    assert "load_bundle" in capsys.readouterr().out and (tmp_path / "a.zip").is_file()
    assert main(["export", run, str(tmp_path / "a.pt")]) == 2
    assert "must name a file that ends in .onnx" in capsys.readouterr().err
    assert main(["export", run, str(bundle), "--format", "bundle"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["export", "nothing", str(tmp_path / "b.onnx")]) == 2
    with pytest.raises(SystemExit) as caught:
        main(["export", run, str(tmp_path / "b"), "--format", "pickle"])
    assert caught.value.code == 2


def test_the_command_fails_where_a_run_has_nothing_to_export(
    bundled: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback, or an empty bundle, for a run that has only begun or was damaged."""
    run = bundled[0]
    shutil.rmtree(run / "galleries")
    assert main(["export", str(run), str(tmp_path / "c"), "--format", "bundle"]) == 1
    assert "is missing or damaged" in capsys.readouterr().err
    (run / "events.jsonl").unlink()
    assert main(["export", str(run), str(tmp_path / "c.onnx")]) == 1
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert not list(tmp_path.glob("c*")) and not list(tmp_path.glob(".bundle*"))
