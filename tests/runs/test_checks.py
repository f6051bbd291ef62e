"""Checks of new images in a process of their own: handed over, followed, and reported when the process dies."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from panda_core import worker
from panda_core.config import RunConfig
from panda_core.errors import PandaError
from panda_core.records import write_json
from panda_core.runs import launch
from panda_core.runs.folder import RunFolder
from panda_core.runs.uploads import delete_check


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setattr(launch, "_waiting", None)
    return RunFolder.create(RunConfig(runs_dir=str(tmp_path / "runs")))


def spawned(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have the next process run `code` instead of what waits for a job."""

    def spawn() -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)

    monkeypatch.setattr(launch, "_spawn", spawn)


def ended(out: Path) -> None:
    launch._checks[out.name].wait(timeout=20)


@pytest.mark.parametrize(
    "code, words",
    [
        ("import os, signal; input(); os.kill(os.getpid(), signal.SIGKILL)", f"signal {int(signal.SIGKILL)}: killed"),
        ("input(); raise SystemExit(3)", "exit code 3"),
    ],
)
def test_a_dead_process_is_reported_at_once(
    code: str, words: str, folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that waits two minutes for a process that is gone."""
    spawned(monkeypatch, code)
    out = launch.check(folder, tmp_path)
    ended(out)
    assert words in launch.how_check_ended(out)


def test_a_living_process_and_a_result_are_no_fault(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check called dead while it computes, or although it has written its result, or after a restart."""
    out = folder.path / "checks" / "one"
    monkeypatch.setitem(launch._checks, "one", SimpleNamespace(poll=lambda: None))
    assert launch.how_check_ended(out) == ""
    monkeypatch.setitem(launch._checks, "one", SimpleNamespace(poll=lambda: 1))
    assert "exit code 1" in launch.how_check_ended(out)
    out.mkdir(parents=True)
    write_json(out / "result.json", {"rows": [], "error": "said"})
    assert launch.how_check_ended(out) == "" == launch.how_check_ended(folder.path / "checks" / "from before")


def test_the_job_reaches_the_checking_process(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path with a space or a quote that arrives as two; a check that is taken for a run."""
    images = tmp_path / 'my "photos", [new]'
    images.mkdir()
    told = SimpleNamespace(text="")

    class Input(io.StringIO):
        def close(self) -> None:
            told.text = self.getvalue()
            super().close()

    monkeypatch.setattr(launch, "_spawn", lambda: SimpleNamespace(poll=lambda: None, stdin=Input()))
    out = launch.check(folder, images)
    assert out.is_dir() and len(out.name) == 32
    seen: list[tuple[Path, ...]] = []
    monkeypatch.setitem(worker.JOBS, "check", lambda *paths: seen.append(paths) or 0)
    monkeypatch.setattr(sys, "stdin", io.StringIO(told.text))
    assert worker.main() == 0
    assert seen == [tuple(path.resolve() for path in (folder.path, images, out))]


@pytest.mark.parametrize("kind", ["bundle", "onnx"])
def test_a_detector_is_written_by_a_process(
    kind: str, folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order for a file that arrives as one for another; a reason that nobody hears."""
    jobs: list[tuple[Any, ...]] = []

    def hand_over(job: str, *paths: Path) -> SimpleNamespace:
        jobs.append((job, *paths))
        return SimpleNamespace(wait=lambda timeout: worker.JOBS[job](*paths))

    monkeypatch.setattr(launch, "_hand_over", hand_over)
    with pytest.raises(PandaError, match="has no checkpoint yet"):
        launch.export(folder, tmp_path / "detector", kind)
    assert jobs == [(kind, folder.path, tmp_path / "detector")]
    assert not (tmp_path / "detector").exists()


@pytest.mark.parametrize("code, words", [("raise SystemExit(3)", "ended with code 3"), ("input()", "took over 1 s")])
def test_a_bundle_that_never_comes_is_told(
    code: str, words: str, folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that waits for a process which is dead, or for ever."""
    spawned(monkeypatch, f"input(); {code}" if "exit" in code.lower() else "import time; time.sleep(60)")
    with pytest.raises(PandaError, match=f"{words}.*--format bundle"):
        launch.export(folder, tmp_path / "detector.zip", "bundle", patience=1.0 if "over" in words else 20.0)


ANSWERS = """
import json, os, sys
import numpy as np
sys.stdin.readline()
for number, line in enumerate(sys.stdin):
    image, answer = json.loads(line)
    pixels = np.load(image)
    said = {"score": np.array(float(pixels.sum()) + number / 10), "grid": pixels[..., 0] * 1.0, "error": np.array("")}
    np.savez(answer + ".part", **said)
    os.rename(answer + ".part.npz", answer)
"""


def test_one_process_answers_image_after_image(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process, and seconds, for every stroke of a brush; an answer to another image; painted images that stay."""
    spawned(monkeypatch, ANSWERS)
    before = {path.name for path in Path(tempfile.gettempdir()).glob("panda-compare-*")}
    for number in range(3):
        image = np.full((2, 3, 3), number, np.uint8)
        said = launch.compare(folder, image)
        assert said.score == image.sum() + number / 10 and np.array_equal(said.grid, image[..., 0])
    assert {path.name for path in Path(tempfile.gettempdir()).glob("panda-compare-*")} <= before
    process = launch._comparing[folder.run_id]
    launch.end_comparing(folder)
    assert process.poll() is not None and folder.run_id not in launch._comparing


def test_a_process_that_dies_is_told_and_replaced(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A brush that does nothing any more, without a word, once a process was killed."""
    spawned(monkeypatch, "input()")
    with pytest.raises(PandaError, match="Try once more"):
        launch.compare(folder, np.zeros((2, 3, 3), np.uint8))
    spawned(monkeypatch, ANSWERS)
    assert launch.compare(folder, np.ones((2, 3, 3), np.uint8)).score == 18
    launch.end_comparing(folder)


def test_few_detectors_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine full of detectors that somebody painted for this morning."""
    spawned(monkeypatch, ANSWERS)
    folders = [RunFolder.create(RunConfig(runs_dir=str(tmp_path))) for _ in range(launch.MOST_COMPARING + 1)]
    for made in folders:
        launch.open_detector(made)
    assert list(launch._comparing) == [made.run_id for made in folders[1:]]
    for made in folders:
        launch.end_comparing(made)


def test_a_check_that_is_deleted_writes_nothing_more(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results of photos that come back to the disk after *Delete everything*."""
    spawned(monkeypatch, "import time; input(); time.sleep(60)")
    out = launch.check(folder, tmp_path)
    process = launch._checks[out.name]
    delete_check(out)
    assert process.poll() is not None and not out.exists()
