"""A run's score graph as one ONNX or TorchScript file, kept only if it gives the scores of the run's detector."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from panda_core.errors import BrokenRun, PandaError, UsageError
from panda_core.export.graph import ScoreGraph, score_graph
from panda_core.features.trunk import squared
from panda_core.records import write_atomically
from panda_core.runs.adapt.opened import Adapted
from panda_core.runs.detector import PandaDetector
from panda_core.runs.loaded import LoadedRun

TOLERANCE = 1e-4
BATCHES = (1, 5)  # a graph that was traced for one number of images fails with another
EXTRA = "panda_core.json"  # the description inside a TorchScript file

Scores = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class NetworkFile:
    """A file that was written. difference: its largest, relative, to the detector. images: what it was checked on."""

    path: Path
    size: int
    difference: float
    images: str


def write_network(loaded: LoadedRun, target: Path, kind: str) -> NetworkFile:
    """Write a run's score graph, kind "onnx" or "torchscript", and return what was found when it was read back.

    The file takes its place only once it has given the detector's scores, at one image and at five, to 1e-4;
    otherwise `PandaError` says by how much it differs. `UsageError` for a run that is no single graph.
    """
    detector = on_cpu(loaded).detector()
    if detector.levels is not None:
        raise UsageError(
            f"Run `{loaded.run_id}` takes the sample values {detector.levels} as black and white, and a graph gets "
            "pixels of 8 bits, in which these are lost. Use `--format bundle`, which reads images in that range."
        )
    graph = score_graph(detector)
    described = description(loaded.run_id, detector)
    images, which = _pictures(loaded, int(detector.config.image_size or 0))
    with tempfile.TemporaryDirectory(prefix="panda-export-") as folder:
        file = Path(folder) / target.name
        example = torch.from_numpy(_resized(detector, images[:2]))
        try:
            write, opened = _KINDS[kind]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the exporters, about themselves
                write(graph, example, described, file)
                scores = opened(file)
        except Exception as error:  # each exporter has its own kinds, for each network others
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise PandaError(
                f"Run `{loaded.run_id}` cannot be written as {kind}: {first} Use `--format bundle`."
            ) from error
        difference = _difference(detector, scores, images)
        if not difference <= TOLERANCE:
            raise PandaError(
                f"The scores of `{target}` differ from the run's by {difference:.1e}, more than {TOLERANCE:.0e} of "
                "them; nothing was written. Use `--format bundle`."
            )
        content = file.read_bytes()
    write_atomically(target, lambda out: out.write(content))
    return NetworkFile(target, len(content), difference, which)


def on_cpu(loaded: LoadedRun) -> LoadedRun:
    """Return the run again, to be opened on the CPU wherever it was computed."""
    again = LoadedRun(loaded.folder)
    again.config = loaded.config.replace(device="cpu")
    return again


def description(run_id: str, detector: PandaDetector) -> dict[str, str]:
    """Return what a user of the file has to know: how to make its input, and how to read its output."""
    adapted = detector.learned_
    if not isinstance(adapted, Adapted):
        raise UsageError(f"Recipe `{detector.config.recipe}` has no description as one graph.")
    side, seen, summary = adapted.image_size, adapted.network.preprocessing, detector.calibration.summary()
    if seen.crop >= 1:
        resize = f"squeeze the whole image to {side} x {side}"
    else:
        resize = f"short side to {round(side / seen.crop)}, then the center {side} x {side}"
    return {
        "run": run_id,
        "recipe": detector.config.recipe,
        "backbone": str(detector.config.backbone),
        "scorer": str(detector.config.scorer),
        "input": f"images: uint8 (B, {side}, {side}, 3), RGB, 0 to 255; normalised inside",
        "side": str(side),
        "resize": resize,
        "interpolation": f"{seen.interpolation}, antialiased as Pillow does",
        "output": "scores: float32 (B,), higher = more anomalous",
        "threshold": "none: no image was held out" if summary["threshold"] is None else repr(summary["threshold"]),
        "threshold_meaning": f"an image is rejected whose score is higher. {detector.calibration.sentence()}",
        "calibration": json.dumps(summary),
    }


def _write_onnx(graph: ScoreGraph, example: torch.Tensor, described: dict[str, str], file: Path) -> None:
    program = torch.onnx.export(
        graph,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
    )
    if program is None:
        raise PandaError("the exporter gave nothing.")
    program.model.metadata_props.update({f"panda.{key}": value for key, value in described.items()})
    program.save(str(file), external_data=False)


def _open_onnx(file: Path) -> Scores:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: the rest goes to the terminal past every setting of Python
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["scores"], {"images": images})[0]


def _write_torchscript(graph: ScoreGraph, example: torch.Tensor, described: dict[str, str], file: Path) -> None:
    with torch.no_grad():
        traced = torch.jit.trace(graph, (example,), check_trace=False)
    torch.jit.save(traced, str(file), _extra_files={EXTRA: json.dumps(described)})


def _open_torchscript(file: Path) -> Scores:
    module = torch.jit.load(str(file))

    def scores(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy()

    return scores


_KINDS: dict[str, tuple[Callable[[ScoreGraph, torch.Tensor, dict[str, str], Path], None], Callable[[Path], Scores]]] = {
    "onnx": (_write_onnx, _open_onnx),
    "torchscript": (_write_torchscript, _open_torchscript),
}


def _pictures(loaded: LoadedRun, side: int) -> tuple[list[np.ndarray], str]:
    """Return six decoded images and where they are from: the run's test images, or noise where its data is gone."""
    try:
        found = loaded.images("test")
        rows = np.linspace(0, len(found) - 1, sum(BATCHES)).round().astype(int)
        return [found.load(int(row)) for row in rows], "test images of the run"
    except (PandaError, OSError):
        rng = np.random.default_rng(0)
        return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(sum(BATCHES))], "random images"


def _resized(detector: PandaDetector, images: list[np.ndarray]) -> np.ndarray:
    adapted = detector.learned_
    if not isinstance(adapted, Adapted):
        raise BrokenRun("This detector has no network of its own.")
    return np.stack([squared(image, adapted.image_size, adapted.network.preprocessing) for image in images])


def _difference(detector: PandaDetector, scores: Scores, images: list[np.ndarray]) -> float:
    """Return the largest |file - detector|, over the detector's score, or its mean one where that is larger.

    The mean, because a logit and the distance of a normal image to itself may be 0.
    """
    found, wanted, start = [], [], 0
    for count in BATCHES:
        batch = images[start : start + count]
        found.append(scores(_resized(detector, batch)))
        wanted.append(detector.anomaly_scores(batch))
        start += count
    a, b = np.concatenate(found).astype(np.float64), np.concatenate(wanted).astype(np.float64)
    if a.shape != b.shape:
        raise PandaError(f"The file gives {a.shape} scores for {b.shape} images; nothing was written.")
    size = np.maximum(np.abs(b), np.abs(b).mean())
    return float(np.max(np.abs(a - b) / np.maximum(size, np.finfo(np.float32).tiny)))
