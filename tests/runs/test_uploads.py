"""Uploads: reachable by their token alone, for some days, within a limit, and never removed under a run."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panda_core.config import RunConfig
from panda_core.datasets import image_files
from panda_core.errors import PandaError, UsageError
from panda_core.runs.deleted import put_aside
from panda_core.runs.folder import RunFolder
from panda_core.runs.owner import cache_of, upload_of
from panda_core.runs.uploads import (
    Upload,
    delete_check,
    delete_everything,
    delete_upload,
    find_upload,
    keep_upload,
    lifetime,
    note_check,
    quota,
    sweep,
)

DAY = 86_400


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders for data and runs that no other test sees."""
    monkeypatch.setenv("PANDA_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PANDA_RUNS", str(tmp_path / "runs"))
    for name in ("PANDA_UPLOAD_DAYS", "PANDA_UPLOAD_GB"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def dropped(seed: int = 0, side: int = 16) -> Upload:
    held = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)).save(held, "PNG")
    return keep_upload([("normal", f"photo {seed}.png", io.BytesIO(held.getvalue()))])


def run_on(upload: Upload, state: str, runs_dir: Path, prefix: str = "folder:") -> RunFolder:
    folder = RunFolder.create(RunConfig(dataset=f"{prefix}{upload.images}", runs_dir=str(runs_dir)))
    folder.write_state(state)
    return folder


def aged(upload: Upload, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(upload.path / "upload.json", (then, then))


def test_an_upload_comes_back_by_its_token() -> None:
    """A reload of the page that loses the images; two drops in one folder; a token that can be guessed."""
    first, second = dropped(1), dropped(2)
    assert first.token != second.token and len(first.token) == 32
    found = find_upload(first.token)
    assert found == first and found.names() == {"good/0000.png": "photo 1.png"} and found.understood.normals == 1


@pytest.mark.parametrize("token", ["", ".", "..", "../runs", "/etc", "0" * 32, "a" * 500, "%2e%2e", "0" * 15 + "\0"])
def test_made_up_tokens_find_nothing(token: str, folders: Path) -> None:
    """An address that opens, or deletes, what is no upload."""
    dropped()
    (folders / "runs" / "upload.json").write_text("{}")
    assert find_upload(token) is None
    with pytest.raises(UsageError):
        delete_upload(token)


def test_a_link_is_no_upload(folders: Path) -> None:
    """A link among the uploads through which a sweep removes what lies elsewhere."""
    upload = dropped()
    target = folders / "precious"
    upload.path.rename(target)
    upload.path.symlink_to(target)
    assert find_upload(upload.token) is None
    assert sweep(time.time() + 365 * DAY) == [] and target.is_dir()


def test_old_uploads_go_and_used_ones_stay() -> None:
    """Photos kept for ever, or taken away from somebody who looks at them every day."""
    old, looked_at, new = dropped(1), dropped(2), dropped(3)
    aged(old, 8 * DAY)
    aged(looked_at, 8 * DAY)
    assert find_upload(looked_at.token) is not None
    assert sweep() == [old.token]
    assert find_upload(old.token) is None and find_upload(looked_at.token) and find_upload(new.token)


def test_a_drop_sweeps_first() -> None:
    """A limit that holds only when somebody thinks of it."""
    old = dropped(1)
    aged(old, 8 * DAY)
    dropped(2)
    assert not old.path.exists()


@pytest.mark.parametrize("prefix", ["folder:", "synthetic:folder:"])
@pytest.mark.parametrize("state", ["queued", "finished"])
def test_a_waiting_run_keeps_its_images(state: str, prefix: str, folders: Path) -> None:
    """A run that fails because its images were swept away, or a finished one that keeps them for ever."""
    upload = dropped()
    aged(upload, 30 * DAY)
    run_on(upload, state, folders / "runs", prefix)
    if state == "queued":
        with pytest.raises(UsageError, match="Stop it first"):
            delete_upload(upload.token)
        assert sweep() == [] and upload.path.is_dir()
    else:
        assert sweep() == [upload.token]


def test_the_oldest_go_where_room_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk; the newest removed first; an upload of this minute removed under its owner."""
    uploads = [dropped(seed, 200) for seed in range(4)]
    for age, upload in enumerate(uploads):
        aged(upload, (4 - age) * 2 * 3600)
    monkeypatch.setenv("PANDA_UPLOAD_GB", "0.00026")  # two of them
    assert sweep() == [uploads[0].token, uploads[1].token]
    for upload in uploads[2:]:
        aged(upload, 60)
    monkeypatch.setenv("PANDA_UPLOAD_GB", "0.0001")
    assert sweep() == []
    with pytest.raises(PandaError, match="PANDA_UPLOAD_GB"):
        dropped(9)


def test_a_drop_larger_than_the_room_leaves_nothing(monkeypatch: pytest.MonkeyPatch, folders: Path) -> None:
    """Half an upload that fills the disk and that nobody can open."""
    monkeypatch.setenv("PANDA_UPLOAD_GB", "0.00001")
    with pytest.raises(PandaError, match="room for"):
        dropped(1, 200)
    assert list((folders / "runs" / "uploads").iterdir()) == []


def test_an_owner_can_delete() -> None:
    """A button without effect."""
    upload = dropped()
    delete_upload(upload.token)
    assert not upload.path.exists() and find_upload(upload.token) is None


def everything_below(folder: Path) -> str:
    """Return the names and contents of all files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return " ".join(f"{path} {path.read_bytes()!r}" for path in files)


def test_everything_of_mine_is_gone_from_the_disk(folders: Path) -> None:
    """Photos that were scored or served as references, their names, or what was learned, that stay after *Delete*; or
    what belongs to somebody else that goes with them."""
    mine, judged, references, other = (dropped(seed) for seed in range(4))
    run, public = (
        run_on(mine, "finished", folders / "runs"),
        RunFolder.create(RunConfig(runs_dir=str(folders / "runs"))),
    )
    public.write_state("finished")
    cache_of(run.config()).mkdir()
    (cache_of(run.config()) / "activations.npy").write_bytes(b"what a network makes of photos")
    for folder, token, uploads in ((run, "a", (judged,)), (public, "b", (other, references))):
        folder.checks(token * 32).mkdir(parents=True)
        note_check(folder.checks(token * 32), *uploads)
    delete_everything(mine.token)
    left = everything_below(folders)
    assert not any(path.exists() for path in (mine.path, judged.path, run.path))
    assert all(text not in left for text in ("photo 0", "photo 1", mine.token, judged.token))
    assert other.path.is_dir() and references.path.is_dir() and public.path.is_dir()
    delete_check(public.checks("b" * 32))
    assert not any(path.is_dir() for path in (other.path, references.path, public.checks("b" * 32)))
    assert "photo" not in everything_below(folders) and public.path.is_dir()


def test_a_run_that_can_still_be_brought_back_is_gone_too(folders: Path) -> None:
    """What was learned from photos, and photos that it judged, that come back after *Delete everything*."""
    mine, judged = (dropped(seed) for seed in range(2))
    run = run_on(mine, "finished", folders / "runs")
    run.checks("a" * 32).mkdir(parents=True)
    note_check(run.checks("a" * 32), judged)
    aside = put_aside(run)
    delete_everything(mine.token)
    assert not any(path.exists() for path in (aside, mine.path, judged.path))


def test_nothing_is_deleted_under_a_run_that_computes(folders: Path) -> None:
    """Half of somebody's things, while a process goes on with the other half."""
    upload = dropped()
    done, waits = (run_on(upload, state, folders / "runs") for state in ("finished", "queued"))
    with pytest.raises(UsageError, match="Stop it first"):
        delete_everything(upload.token)
    assert upload.path.is_dir() and done.path.is_dir() and waits.path.is_dir()


def test_a_data_root_that_may_not_be_written_takes_no_uploads(folders: Path) -> None:
    """Photos that cannot be dropped where the data sets lie on a read-only disk."""
    data = folders / "data"
    data.mkdir(mode=0o500)
    upload = dropped()
    assert list(data.iterdir()) == [] and upload.path.is_relative_to(folders / "runs")


@pytest.mark.parametrize("text", ["nan", "-1", "0", "many", "inf"])
def test_settings_are_checked(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing mistake that removes everything, or nothing, ever."""
    assert (lifetime(), quota()) == (7 * DAY, 2_000_000_000)
    monkeypatch.setenv("PANDA_UPLOAD_DAYS", text)
    with pytest.raises(UsageError, match=r"PANDA_UPLOAD_DAYS.*got"):
        lifetime()


@pytest.mark.parametrize("prefix", ["folder:", "synthetic:folder:"])
def test_a_run_is_known_by_its_upload(prefix: str, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs on people's photos that become public when the data root moves, or a path is written another way."""
    upload = dropped()
    config = run_on(upload, "finished", folders / "runs", prefix).config()
    roundabout = config.replace(dataset=f"{prefix}{upload.path}/../{upload.token}/images")
    monkeypatch.setenv("PANDA_RUNS", str(folders / "elsewhere"))
    assert upload_of(config) == upload_of(roundabout) == upload.token


@pytest.mark.parametrize("dataset", ["digits", "folder:/home/me/uploads/good", "folder:/data/uploads", "folder:x"])
def test_other_runs_belong_to_no_upload(dataset: str) -> None:
    """Runs that their owner misses in the lists."""
    assert upload_of(RunConfig(dataset=dataset)) is None


def test_no_listing_of_a_folder_reaches_uploads(folders: Path) -> None:
    """A stranger who names the folder of all uploads, or one around it, and gets everybody's photos."""
    upload = dropped()
    Image.new("RGB", (8, 8)).save(folders / "runs" / "own.png")
    assert image_files(folders) == ["runs/own.png"] and image_files(folders / "runs") == ["own.png"]
    (folders / "link").symlink_to(folders / "runs" / "uploads")
    assert image_files(folders / "runs" / "uploads") == image_files(folders / "link") == []
    assert image_files(upload.images) == ["good/0000.png"]
