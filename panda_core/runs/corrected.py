"""Corrections of a run on a folder: "this one is fine", "this one is bad". The run stays, and is learned again.

    RUN/corrections.jsonl            a line for each correction, once the run learned with it is finished, and each undo
    RUN/corrections/NNNN/images/     all corrections so far: see `panda_core.datasets.own.corrected`
    RUN/corrections/NNNN/<run id>/   the run learned with them, from the images of RUN and its settings

A line proves its folder, so that a kill at any moment leaves the state before it or the one after. What was accepted is
normal like all other normals: the bank or gallery holds it, and some of it calibrates the threshold, which is set anew.
What was rejected measures, and is never learned from. The last correction that was not undone is the one in force.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import Timeout

from panda_core.datasets import IMAGE_SUFFIXES, Images, OneClassTask
from panda_core.datasets.copies import shared_images
from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.listing import image_files, shown_name
from panda_core.datasets.own.corrected import ACCEPTED, REJECTED, note_corrected
from panda_core.datasets.own.folder import PREFIX
from panda_core.errors import BrokenRun, UsageError
from panda_core.events import Event, RunFinished, RunStarted
from panda_core.records import append_line, cannot_write, read_lines
from panda_core.runs.data import check_unchanged
from panda_core.runs.folder import RunFolder
from panda_core.runs.kinds import open_task
from panda_core.runs.owner import upload_of
from panda_core.runs.run import run
from panda_core.runs.segment.photos import grid_of_photos
from panda_core.runs.settings import levels_of_config, region_of

HISTORY, FOLDER, IMAGES = "corrections.jsonl", "corrections", "images"


@dataclasses.dataclass(frozen=True)
class Correction:
    """One correction. time: seconds since 1970. kind: "accepted" or "rejected". images: the files, as they were given.

    run: the place, below the corrected run, of the run learned with it and all before it.
    """

    number: int
    time: float
    kind: str
    images: tuple[str, ...]
    run: str


def corrections_of(folder: RunFolder) -> list[Correction]:
    """Return the corrections of a run that are in force, the last one last."""
    in_force: list[Correction] = []
    for record, _ in read_lines(folder.path / HISTORY):
        try:
            if "undone" in record:
                in_force = [one for one in in_force if one.number != record["undone"]]
            else:
                in_force.append(Correction(**{**record, "images": tuple(record["images"])}))
        except (KeyError, TypeError) as error:
            raise BrokenRun(f"Run `{folder.run_id}` has a damaged {HISTORY}: {error}. Learn it again.") from error
    return in_force


def in_force(folder: RunFolder) -> RunFolder:
    """Return the run that was learned with all corrections of a run; the run itself where there are none."""
    corrections = corrections_of(folder)
    if not corrections:
        return folder
    learned = RunFolder(folder.path / corrections[-1].run)
    if not learned.is_run():
        raise BrokenRun(
            f"Run `{folder.run_id}` lacks the run learned with its last correction, `{corrections[-1].run}`. Take the "
            f"correction back with `python -m panda_core accept {folder.run_id} --undo`."
        )
    return learned


def counted(corrections: Sequence[Correction]) -> str:
    """Return how many images corrections accepted and rejected, in words: "3 accepted, 1 rejected"."""
    counts = Counter(kind for one in corrections for kind in [one.kind] * len(one.images))
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def correct_run(
    folder: RunFolder, files: Sequence[Path], *, accept: bool, should_stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Yield the events of a run learned again with images accepted as normal, or rejected; then it is in force.

    Refused for runs on anything but a folder of one's own, and where its images have changed. A file that cannot be
    decoded, or is not in the shape of the run's region of interest or of photos that it cuts into tiles, raises
    `UnreadableImage`. Whatever is refused, fails or is stopped, nothing has changed.
    """
    task = _correctable(folder)
    places = list(dict.fromkeys(map(str, files)))  # one may be named twice
    images = FileImages(places, places, levels_of_config(folder.config()))
    _check_fit(folder, task, images)
    try:
        lock = folder.lock().acquire(timeout=0)
    except Timeout as error:
        raise UsageError(f"Run `{folder.run_id}` is being corrected by another process. Wait for it.") from error
    with lock:
        before = corrections_of(folder)
        _remove_unfinished(folder)
        number = 1 + max((int(path.name) for path in (folder.path / FOLDER).glob("[0-9]*")), default=0)
        place = folder.path / FOLDER / f"{number:04d}"
        kind = ACCEPTED if accept else REJECTED
        _write_images(folder, place / IMAGES, before, images, kind, _copies(task, images))
        run_id, finished = "", False
        config = folder.config()
        config = config.replace(dataset=f"{PREFIX}{place / IMAGES}", runs_dir=str(place))
        for event in run(config, should_stop=should_stop):
            run_id = event.run_id if isinstance(event, RunStarted) else run_id
            finished = isinstance(event, RunFinished)
            yield event
        if finished:
            learned, given = f"{FOLDER}/{place.name}/{run_id}", tuple(str(file) for file in files)
            one = Correction(number, time.time(), kind, given, learned)
            append_line(folder.path / HISTORY, dataclasses.asdict(one))


def undo(folder: RunFolder) -> Correction:
    """Take the last correction of a run back, and return it; what was before is in force again."""
    with folder.lock():
        corrections = corrections_of(folder)
        if not corrections:
            raise UsageError(f"Run `{folder.run_id}` has no correction that could be taken back.")
        append_line(folder.path / HISTORY, {"undone": corrections[-1].number, "time": time.time()})
    return corrections[-1]


def _correctable(folder: RunFolder) -> OneClassTask:
    """Return the images of a run; `UsageError` or `BrokenRun` where it cannot be learned again with corrections."""
    config = folder.config()
    if not config.dataset.startswith(PREFIX):
        raise UsageError(
            f"Corrections are for runs on `{PREFIX}PATH`; run `{folder.run_id}` is on `{config.dataset}`. Learn from a "
            "folder of images first."
        )
    if upload_of(config) is not None:
        raise UsageError(f"The images of run `{folder.run_id}` were dropped in the app. Correct them there.")
    if config.train_limit is not None:
        raise UsageError(
            f"Run `{folder.run_id}` learned from {config.train_limit} images drawn from its folder, among which "
            "corrections could be lost. Learn from all of them first, without `--train-limit`."
        )
    if folder.state().state != "finished":
        raise UsageError(f"Run `{folder.run_id}` is not finished. `python -m panda_core resume` continues it.")
    task = open_task(config)
    check_unchanged(folder.run_id, folder.split(), task)
    return task


def _check_fit(folder: RunFolder, task: OneClassTask, given: Images) -> None:
    """Raise `UnreadableImage` for an image that the run cannot learn from."""
    config = folder.config()
    region, grid = region_of(config), grid_of_photos(config, task.train)
    for row, name in enumerate(given.names):
        image = given.load(row)
        if region is not None:
            region.check_fits(image, name)
        if grid is not None:
            grid.check_fits(image.shape, name)


def _copies(task: OneClassTask, given: Images) -> list[str]:
    """Return the hex digests of the files of a task's images that show what one of the given images shows."""
    return [images.digest(row).hex() for images in (task.train, task.test) for row, _ in shared_images(images, [given])]


def _remove_unfinished(folder: RunFolder) -> None:
    """Remove what a kill or an error left of corrections that no line proves."""
    known = {record["run"].split("/")[1] for record, _ in read_lines(folder.path / HISTORY) if "run" in record}
    for path in (folder.path / FOLDER).glob("[0-9]*"):
        if path.name not in known:
            shutil.rmtree(path)


def _write_images(
    folder: RunFolder,
    images: Path,
    before: Sequence[Correction],
    given: FileImages,
    kind: str,
    copies: Sequence[str],
) -> None:
    """Fill a folder with the corrections in force and further ones; what is said last of an image counts.

    copies: see `note_corrected`.
    """
    try:
        if before:
            shutil.copytree((folder.path / before[-1].run).parent / IMAGES, images)
        for name in (ACCEPTED, REJECTED):
            (images / name).mkdir(parents=True, exist_ok=True)
        note_corrected(images, folder.config().dataset.removeprefix(PREFIX), copies)
        earlier = FileImages.below(images, image_files(images), given.levels)
        for row, _ in shared_images(earlier, [given]):
            Path(earlier.paths[row]).unlink()
        for file in map(Path, given.paths):
            shutil.copyfile(file, images / kind / _stored_name(file))
    except OSError as error:
        raise cannot_write(images, error) from error


def _stored_name(file: Path) -> str:
    """Return the name of a file's copy: by its content, and as people recognise it."""
    with open(file, "rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()[:32]
    ending = "" if file.name.lower().endswith(IMAGE_SUFFIXES) else ".png"  # an image without one is read as well
    return f"{digest} {shown_name(file.name)[-50:]}{ending}"
