"""The run folder: the one interface between computing and everything else. No torch is needed to read one.

    config.json             `RunConfig`, every default written out
    environment.json        versions, hardware, sha256 of weights and splits, where the Fisher diagonal comes from
    split.json              `RunSplit`: which images take part, by name and row
    events.jsonl            one line an event, appended after the files it refers to: a line proves its files
    roi.png                 the region of interest, white where images count, of runs with one
    state.json              queued | running | finished | stopped | failed | interrupted, since when and why
    calibration.json        `Calibration`: calibrating scores, threshold, middle of the maps
    arrays/NNNNNN.npz       `StepArrays` at step NNNNNN          arrays/final.npz   `FinalArrays`
    maps/NNNNNN.npz         `MapArrays`, of runs with maps
    checkpoints/NNNNNN.safetensors   the adapted tail, "learner.NAME" beside it; of few-shot runs the whole model and
                                     "references.LEVEL"
    galleries/NNNNNN.safetensors     "features" (N, D') that test images are compared with, of the checkpoints in use
    banks/NNNNNN.safetensors         what a segmentation compares with
    momentum/NNNNNN.safetensors      what the optimiser remembers, "slot/parameter"; gone once the run is finished
    space.safetensors       center (D',), axes (D', 2); whitened: mean (D,), projection (D, D')
    fisher.json             layer -> sum of the Fisher diagonal, of EWC     moved.json   layer -> how far it moved
    corrections.jsonl, corrections/   what was accepted and rejected since, see `panda_core.runs.corrected`
    checks/TOKEN/           looks at new images, for the app     output.log   what its process complained of
    lock, stop              held while a process computes; there where somebody asks it to stop

`panda_core.runs.arrays` lists what the arrays and `split.json` hold, with shapes. A run whose state says `running` and
whose lock is free was interrupted.
"""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from panda_core.config import CONFIG_FILE, STATE_FILE, RunConfig
from panda_core.datasets.io.regions import read_region, write_region
from panda_core.errors import BrokenRun, PandaError, UsageError
from panda_core.events import Event
from panda_core.records import MARK, absolute, append_line, cannot_write, read_json, read_lines, write_json
from panda_core.runs.arrays import AdaptArrays, FinalArrays, MapArrays, PatchArrays, RunSplit, StepArrays

FINAL = "final"
ROI = "roi.png"
CHECKPOINTS, GALLERIES, BANKS, MOMENTUM, MAPS = "checkpoints", "galleries", "banks", "momentum", "maps"
STATES = ("queued", "running", "finished", "stopped", "failed", "interrupted")
ENDED = ("finished", "stopped", "failed", "interrupted")
# Seconds in which the process of a queued run has begun: it imports torch, on a busy machine slowly.
STARTS_WITHIN = 120.0
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


@dataclasses.dataclass(frozen=True)
class State:
    """What `state.json` says, corrected by the lock. since: seconds since 1970."""

    state: str
    since: float = 0.0
    reason: str = ""


class ComputedFolder:
    """A folder that one process computes and others look at: its state, its lock, and how that process is stopped."""

    starts_within: float  # seconds in which the process of a queued folder has begun
    cut_short: str  # the reason that is given where its process is gone

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_state(self, state: str, reason: str = "") -> None:
        write_json(self.path / STATE_FILE, {"state": state, "since": time.time(), "reason": reason})

    def written_state(self) -> str:
        """Return the state as the process wrote it; "waiting" where there is none that can be read."""
        try:
            return str(read_json(self.path / STATE_FILE)["state"])
        except (PandaError, KeyError, TypeError):
            return "waiting"

    def state(self) -> State:
        """Return the state; `queued` and `running` without a living process are `interrupted`."""
        try:
            record = read_json(self.path / STATE_FILE)
            state = State(str(record["state"]), float(record["since"]), str(record.get("reason", "")))
        except (PandaError, KeyError, TypeError, ValueError):
            return State("interrupted", reason="Its state cannot be read.")
        just_made = state.state == "queued" and time.time() - state.since < self.starts_within
        if state.state in ("queued", "running") and not just_made and not self.is_locked():
            return State("interrupted", state.since, self.cut_short)
        return state

    def is_locked(self) -> bool:
        try:
            with FileLock(self.path / "lock").acquire(timeout=0):
                return False
        except (Timeout, OSError):
            return True

    def request_stop(self) -> None:
        """Ask the computing process, whatever it is, to stop; it looks before every batch, or cell of a grid."""
        try:
            (self.path / "stop").touch()
        except OSError as error:
            raise cannot_write(self.path / "stop", error) from error

    def stop_requested(self) -> bool:
        return (self.path / "stop").exists()

    def clear_stop_request(self) -> None:
        (self.path / "stop").unlink(missing_ok=True)


class RunFolder(ComputedFolder):
    """One run's folder, to read and to write."""

    starts_within = STARTS_WITHIN
    cut_short = "Its process ended without a word: killed, or the machine went down. It can be resumed."

    @property
    def run_id(self) -> str:
        return self.path.name

    @staticmethod
    def create(config: RunConfig) -> RunFolder:
        """Return a new folder under `config.runs_dir`, its config written and its state `queued`.

        The id starts with the time, to the microsecond, so that names sort by age, also those of a race; it ends with
        random letters: whoever knows the id can open the run, nobody can guess it.
        """
        words = re.sub(r"[^a-z0-9]+", "-", f"{Path(config.dataset).name} {config.normal_class} {config.recipe}".lower())
        run_id = f"{datetime.now():%Y%m%d-%H%M%S-%f}-{words.strip('-')[:40]}-{secrets.token_hex(8)}"
        folder = RunFolder(Path(absolute(config.runs_dir)) / run_id)
        try:
            folder.path.mkdir(parents=True)
        except OSError as error:
            raise cannot_write(folder.path, error) from error
        folder.write_config(config)
        folder.write_state("queued")
        return folder

    @staticmethod
    def open(run: str | os.PathLike[str], runs_dir: str | os.PathLike[str] = "runs") -> RunFolder:
        """Return the folder of `run`: a path, or an id below `runs_dir`. `UsageError` if there is none."""
        for path in (Path(absolute(run)), Path(absolute(runs_dir)) / run):
            if RunFolder(path).is_run():
                return RunFolder(path)
        raise UsageError(f"There is no run `{run}`. `python -m panda_core list` shows the runs of a folder.")

    @staticmethod
    def by_id(run_id: str, runs_dir: str | os.PathLike[str]) -> RunFolder | None:
        """Return the run called exactly `run_id` in `runs_dir`, or None. Paths and other tricks are no ids."""
        if not _ID.fullmatch(run_id):
            return None
        path = Path(absolute(runs_dir)) / run_id
        return RunFolder(path) if RunFolder(path).is_run() else None

    # config, environment, split

    def write_config(self, config: RunConfig) -> None:
        """Write the config and, with it, a copy of its region of interest: the file that was named may vanish."""
        if config.roi:
            region = read_region(config.roi)
            if config.roi.partition(MARK)[0] != str(self.path / ROI):
                write_region(region, self.path / ROI)
            config = config.replace(roi=f"{ROI}{MARK}{region.sha256}")
        write_json(self.config_file, config.to_json())

    def is_run(self) -> bool:
        """Return whether there is a run: a folder with a config."""
        return self.config_file.is_file()

    def config(self) -> RunConfig:
        try:
            config = RunConfig.from_json(read_json(self.config_file))
        except (PandaError, TypeError) as error:
            raise BrokenRun(f"Run `{self.run_id}` has no readable config: {error}") from error
        return config.replace(roi=str(self.path / config.roi)) if config.roi else config

    def read(self, name: str) -> Any:
        """Return a JSON file of the run, or None if it is not there yet."""
        path = self.path / name
        return read_json(path) if path.exists() else None

    def split(self) -> RunSplit | None:
        """Return which images take part, or None before the run has listed them."""
        record = self.read(self.split_file.name)
        return None if record is None else RunSplit.from_json(record, self.split_file)

    # state

    def state(self) -> State:
        """Return the state. `running` or `queued` without a living process is `interrupted`."""
        state = super().state()
        if state.state not in STATES:
            return State("interrupted", reason=f"Its state `{state.state}` is unknown.")
        return state

    def lock(self) -> FileLock:
        """Return the lock that a computing process holds; not yet acquired."""
        return FileLock(self.path / "lock", timeout=3)

    # events

    def append(self, event: Event) -> None:
        append_line(self.log_file, event.to_json())

    def events(self, offset: int = 0) -> Iterator[tuple[Event, int]]:
        """Yield (event, offset after it) from byte `offset` on; kinds this version does not know are passed over."""
        for record, after in read_lines(self.log_file, offset):
            event = Event.from_json(record)
            if event is not None:
                yield event, after

    # files, whether they are there or not

    @property
    def config_file(self) -> Path:
        return self.path / CONFIG_FILE

    @property
    def log_file(self) -> Path:
        return self.path / "events.jsonl"

    def keeps_detector(self) -> bool:
        """Return whether the run still has what scores new images; recordings keep what was measured alone."""
        return any((self.path / name).is_dir() for name in (BANKS, CHECKPOINTS))

    @property
    def split_file(self) -> Path:
        return self.path / "split.json"

    @property
    def environment_file(self) -> Path:
        return self.path / "environment.json"

    @property
    def calibration_file(self) -> Path:
        return self.path / "calibration.json"

    @property
    def space_file(self) -> Path:
        return self.path / "space.safetensors"

    @property
    def fisher_file(self) -> Path:
        return self.path / "fisher.json"

    @property
    def moved_file(self) -> Path:
        return self.path / "moved.json"

    @property
    def output_file(self) -> Path:
        return self.path / "output.log"

    def checkpoint(self, step: int) -> Path:
        return self.path / step_file(CHECKPOINTS, step)

    def gallery(self, step: int) -> Path:
        return self.path / step_file(GALLERIES, step)

    def bank(self, step: int) -> Path:
        return self.path / step_file(BANKS, step)

    def momentum(self, step: int) -> Path:
        return self.path / step_file(MOMENTUM, step)

    def arrays_file(self, step: int | str) -> Path:
        """Return the file of the arrays of a step, or of `FINAL`."""
        return self.path / (f"arrays/{step}.npz" if isinstance(step, str) else step_file("arrays", step, ".npz"))

    def maps_file(self, step: int) -> Path:
        return self.path / step_file(MAPS, step, ".npz")

    def checks(self, token: str) -> Path:
        """Return the folder of a look at new images."""
        return self.path / "checks" / token

    def steps_in(self, name: str) -> list[int]:
        """Return the steps, ascending, whose files the folder `name` of the run holds."""
        suffix = ".npz" if name == MAPS else ".safetensors"
        return sorted(int(path.stem) for path in (self.path / name).glob(f"*{suffix}") if path.stem.isdecimal())

    def keep_only(self, name: str, steps: Collection[int]) -> None:
        """Remove the files in the folder `name` of the run that belong to none of `steps`."""
        for step in self.steps_in(name):
            if step not in steps:
                (self.path / step_file(name, step)).unlink(missing_ok=True)

    # arrays

    def arrays(self, step: int) -> StepArrays:
        """Return what a run of any kind measured at a step."""
        return StepArrays.read(self.arrays_file(step))

    def adapt_arrays(self, step: int) -> AdaptArrays:
        """Return what an adaptation measured at a step."""
        return AdaptArrays.read(self.arrays_file(step))

    def patch_arrays(self, step: int) -> PatchArrays:
        """Return what a run with maps measured at a step."""
        return PatchArrays.read(self.arrays_file(step))

    def final(self) -> FinalArrays:
        """Return the scores that count."""
        return FinalArrays.read(self.arrays_file(FINAL))

    def maps(self, step: int) -> MapArrays:
        """Return the maps of a step."""
        return MapArrays.read(self.maps_file(step))

    def normaliser(self, step: int) -> float:
        """Return what a normal image scores on average at a step."""
        return float(self.arrays(step).normaliser)

    def delete(self) -> None:
        """Remove the folder; refused while a process computes the run."""
        if self.is_locked():
            raise UsageError(f"Run `{self.run_id}` is being computed. Stop it first.")
        shutil.rmtree(self.path)


def step_file(folder: str, step: int, suffix: str = ".safetensors") -> str:
    """Return the name, below a run's folder, of the file of a step: `checkpoints/000040.safetensors`."""
    return f"{folder}/{step:06d}{suffix}"


def list_runs(runs_dir: str | os.PathLike[str]) -> list[RunFolder]:
    """Return the run folders in `runs_dir`, newest first. A folder without a config is no run."""
    try:
        paths = [path for path in Path(absolute(runs_dir)).iterdir() if RunFolder(path).is_run()]
    except OSError:
        return []
    return [RunFolder(path) for path in sorted(paths, key=lambda path: path.name, reverse=True)]
