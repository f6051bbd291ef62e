"""The run folder: its files, the order of its lines, its state, its id."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import panda_core
from panda_core import BrokenRun, RunConfig, UsageError, load_run, run
from panda_core.errors import PandaError
from panda_core.events import CheckpointSaved, Evaluated, RunFinished, RunStarted, Stepped
from panda_core.runs import folder as store
from panda_core.runs.folder import RunFolder, list_runs

Tiny = Callable[..., RunConfig]
Finish = Callable[..., Any]


def test_the_files_of_a_finished_run(digits_run: Path) -> None:
    """A file that the contract names and the run lacks, or names otherwise."""
    names = {str(path.relative_to(digits_run)) for path in digits_run.rglob("*") if path.is_file()}
    steps = ("000000", "000002", "000004")
    wanted = {"config.json", "environment.json", "events.jsonl", "state.json", "split.json", "space.safetensors"}
    wanted |= {f"checkpoints/{step}.safetensors" for step in steps} | {f"arrays/{step}.npz" for step in steps}
    wanted |= {"arrays/final.npz", "calibration.json", "galleries/000004.safetensors"}
    assert wanted <= names
    assert names - wanted <= {"lock"}, "what only resuming or other checkpoints need is gone"
    environment = json.loads((digits_run / "environment.json").read_text())
    assert {"packages", "weights_sha256", "train_sha256", "test_sha256", "device", "threads"} <= set(environment)
    assert environment["packages"]["torch"].startswith("2.")
    assert environment["packages"]["panda_core"] == panda_core.__version__


def test_the_order_of_lines(digits_run: Path) -> None:
    """A log without its step 0, or whose last line is not the end; NaN, which is no JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the log")

    records = [
        json.loads(line, parse_constant=refuse) for line in (digits_run / "events.jsonl").read_text().splitlines()
    ]
    kinds = [record["event"] for record in records]
    assert kinds[0] == "RunStarted" and kinds[-1] == "RunFinished"
    assert kinds.count("RunStarted") == kinds.count("RunFinished") == 1
    core = [(record["event"], record["step"]) for record in records if "step" in record]
    point = lambda step: [("Evaluated", step), ("CheckpointSaved", step)]  # noqa: E731
    stepped = lambda *steps: [("Stepped", step) for step in steps]  # noqa: E731
    assert core == [*point(0), *stepped(1, 2), *point(2), *stepped(3, 4), *point(4)]
    times = [record["time"] for record in records]
    assert times == sorted(times)
    assert records[0]["config"] == json.loads((digits_run / "config.json").read_text())


def test_a_line_proves_its_files(tiny: Tiny) -> None:
    """A reader that follows the log and finds no file: looked at after every single event."""
    folder: RunFolder | None = None
    for event in run(tiny()):
        if isinstance(event, RunStarted):
            folder = RunFolder(Path(tiny().runs_dir) / event.run_id)
            assert folder.config().steps == 6 and folder.state().state == "running"
        assert folder is not None
        assert [item for item, _ in folder.events()][-1] == event
        if isinstance(event, Evaluated):
            assert len(folder.arrays(event.step).scores) == 20
            assert (folder.path / "split.json").is_file() and (folder.path / "environment.json").is_file()
        if isinstance(event, CheckpointSaved):
            assert (folder.path / event.path).is_file()
        if isinstance(event, RunFinished):
            assert folder.state().state == "finished"
            assert len(folder.final().scores) == 20


def test_steps_are_thinned_in_long_runs(tiny: Tiny, finish: Finish) -> None:
    """A log of 4,700 lines for a curve of 200 points; or a last step that is thinned away."""
    _, events = finish(tiny(steps=410, eval_every=410, batch_size=2))
    steps = [event.step for event in events if isinstance(event, Stepped)]
    assert 180 <= len(steps) <= 230 and steps[-1] == 410


def test_ids_are_new_names_that_sort_by_age(tiny: Tiny, tmp_path: Path) -> None:
    """Two runs in one folder; an id that a shell, a URL or a file system cannot carry."""
    config = tiny(dataset="folder:/a/Über <b> ../..", normal_class="c/d é")
    # As the rivals of a race, all within a second: by the names of their recipes they would stand in another order.
    folders = [RunFolder.create(config.replace(recipe=recipe)) for recipe in ("panda-ses", "frozen", "msc") * 6]
    assert len({folder.run_id for folder in folders}) == 18
    for folder in folders:
        assert re.fullmatch(r"\d{8}-\d{6}-\d{6}-[a-z0-9-]*-[0-9a-f]{16}", folder.run_id)
        assert folder.path.parent == tmp_path / "runs"
    assert [folder.run_id for folder in list_runs(tmp_path / "runs")] == [folder.run_id for folder in reversed(folders)]
    assert folders[0].config() == config.replace(recipe="panda-ses")


def test_a_run_is_found_by_path_and_by_id(digits_run: Path) -> None:
    """A run that can only be opened from one folder."""
    for loaded in (load_run(digits_run), load_run(str(digits_run)), load_run(digits_run.name, str(digits_run.parent))):
        assert loaded.run_id == digits_run.name
        assert [event.step for event in loaded.evaluated] == [0, 2, 4]
        assert loaded.metrics is not None and loaded.skipped == []
    with pytest.raises(UsageError, match=r"no run `nothing`.*panda_core list"):
        load_run("nothing")


@pytest.mark.parametrize("trick", ["", ".", "..", "../x", "/etc", "a/b", "a\0b", ".hidden", "x" * 200, "a\n"])
def test_no_trick_is_an_id(digits_run: Path, trick: str) -> None:
    """An id from a link that opens a folder outside of the runs."""
    assert RunFolder.by_id(trick, digits_run.parent) is None
    assert RunFolder.by_id(digits_run.name, digits_run.parent) is not None
    assert RunFolder.by_id("unknown", digits_run.parent) is None


def test_images_of_a_run_come_in_the_order_of_its_scores(digits_run: Path) -> None:
    """The wrong picture beside a score."""
    loaded = load_run(digits_run)
    for split, count in (("train", 24), ("test", 40)):
        images = loaded.images(split)
        assert len(images) == count and list(images.names) == loaded.split.names(split)
    anomalous = [not name.startswith("digit-3/") for name in loaded.split.test]
    np.testing.assert_array_equal(loaded.split.is_anomaly, anomalous)


def test_data_that_changed_is_noticed(own_run: Path) -> None:
    """Pictures of today's data beside the scores of yesterday's."""
    config = json.loads((own_run / "config.json").read_text())
    (own_run / "config.json").write_text(json.dumps({**config, "seed": 5}))
    with pytest.raises(BrokenRun, match=r"data of run .* ha(s|ve) changed"):
        load_run(own_run).images("test")


def test_state_is_corrected_by_the_lock(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is shown as running for ever after its process was killed."""
    folder = RunFolder(own_run)
    for state in ("running", "queued"):
        folder.write_state(state)
        with folder.lock():
            assert folder.is_locked() and folder.state().state == state
        just_made = "queued" if state == "queued" else "interrupted"
        assert folder.state().state == just_made
    now = time.time() + store.STARTS_WITHIN + 60
    monkeypatch.setattr(store.time, "time", lambda: now)
    assert folder.state().state == "interrupted"
    assert "resumed" in folder.state().reason
    for state in ("finished", "stopped", "failed"):
        folder.write_state(state, "why")
        assert (folder.state().state, folder.state().reason) == (state, "why")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"state": "running"}', '{"state": "odd", "since": 1}'])
def test_a_state_that_cannot_be_read_is_interrupted(own_run: Path, content: str) -> None:
    """A traceback for a list of runs because one of them is damaged."""
    (own_run / "state.json").write_text(content)
    assert RunFolder(own_run).state().state == "interrupted"
    (own_run / "state.json").unlink()
    assert RunFolder(own_run).state().state == "interrupted"


def test_a_run_that_is_computed_is_not_deleted(own_run: Path) -> None:
    """A folder removed under a running process."""
    folder = RunFolder(own_run)
    with folder.lock(), pytest.raises(UsageError, match="Stop it first"):
        folder.delete()
    folder.delete()
    assert not own_run.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tiny: Tiny, tmp_path: Path) -> None:
    """A traceback where `--runs-dir` names a file."""
    (tmp_path / "file").touch()
    with pytest.raises(PandaError, match=r"Cannot write .*--runs-dir"):
        list(run(tiny(runs_dir=str(tmp_path / "file"))))


def test_what_is_no_run_is_not_listed(tmp_path: Path) -> None:
    """A stray file or folder shown as a run."""
    (tmp_path / "runs" / "empty").mkdir(parents=True)
    (tmp_path / "runs" / "file").touch()
    assert list_runs(tmp_path / "runs") == list_runs(tmp_path / "nowhere") == []


def test_a_run_is_what_its_log_said_at_one_moment(own_run: Path) -> None:
    """Guards against a page that reads the log again for every number, and shows those of different moments."""
    loaded = load_run(own_run)
    points = len(loaded.evaluated)
    (own_run / "events.jsonl").write_text("")
    assert points == 3 and loaded.metrics is not None and loaded.metrics["stop_step"] == 4
    assert load_run(own_run).metrics is None  # whoever opens it anew sees it as it is now


def sources() -> Iterator[tuple[str, str]]:
    """Yield (path below the package, text) of every file of the package."""
    root = Path(panda_core.__file__).parent
    for path in sorted(root.rglob("*.py")):
        yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def test_the_files_of_a_run_are_spelled_in_one_place() -> None:
    """A file name that is changed where it is written, and not where it is read."""
    spelled = re.compile(r":06d|\"(split|environment|calibration)\.json\"|\"events\.jsonl\"|\"space\.safetensors\"")
    assert [path for path, text in sources() if spelled.search(text)] == ["runs/folder.py"]
    marks = re.compile(r"\"(config|state)\.json\"")  # by which a listing of images knows a run folder, to leave it out
    assert [path for path, text in sources() if marks.search(text)] == ["config.py"]


def test_only_what_drives_a_computation_knows_of_stopping() -> None:
    """A question that is handed through every function again, and forgotten in one."""
    drivers = {"runs/run.py", "runs/watch.py", "runs/corrected.py", "bench/running.py", "worker.py"}
    drivers |= {f"cli/{name}.py" for name in ("running", "bench", "watching", "correcting")}
    assert {path for path, text in sources() if "should_stop" in text} == drivers


def test_scripts_read_a_run_by_the_names_of_its_files(digits_run: Path) -> None:
    """A script that reads `split.json` and the arrays by the names they have there, and finds objects it cannot ask."""
    from panda_core import load_run

    run = load_run(digits_run)
    record = json.loads((digits_run / "split.json").read_text())
    assert {name: run.split[name] for name in record} == record
    for step in (0, "final"):
        with np.load(digits_run / "arrays" / (f"{step:06d}.npz" if isinstance(step, int) else "final.npz")) as file:
            for name in file.files:
                np.testing.assert_array_equal(run.arrays(step)["scores"], file["scores"])  # type: ignore[call-overload]
                assert step == 0 or np.array_equal(run.arrays("final")[name], file[name])
    with pytest.raises(KeyError):
        run.split["nothing"]
