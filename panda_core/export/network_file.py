"""A run's detector as one ONNX or TorchScript file, kept only if it gives the detector's scores and maps."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from panda_core.errors import PandaError, UsageError
from panda_core.export.description import KEY, description
from panda_core.export.graph import INSTEAD, DetectorGraph, score_graph
from panda_core.export.map_graph import MapGraph
from panda_core.export.reference_graph import ReferenceGraph
from panda_core.features.trunk import squared
from panda_core.few_shot.scorer import ReferenceScorer
from panda_core.records import write_atomically
from panda_core.runs.adapt.opened import Adapted
from panda_core.runs.detector import PandaDetector
from panda_core.runs.loaded import LoadedRun
from panda_core.runs.segment.opened import Patchwise

TOLERANCE = 1e-4
BATCHES = (1, 5)  # a graph that was traced for one number of images fails with another
LARGEST = 2_000_000_000  # bytes; a file of protobuf ends at 2^31
EXTRA = "panda_core.json"  # the description inside a TorchScript file

Outputs = Callable[[np.ndarray], tuple[np.ndarray, ...]]  # scores (B,) and, where there are some, maps (B, H, H)


@dataclasses.dataclass(frozen=True)
class NetworkFile:
    """A file that was written. difference: its largest, relative, to the detector. images: what it was checked on."""

    path: Path
    size: int
    difference: float
    images: str


def write_network(loaded: LoadedRun, target: Path, kind: str) -> NetworkFile:
    """Write a run's detector as one graph, kind "onnx" or "torchscript", and return what was found when it was read.

    Scores and, where the detector has them, maps come out. The file takes its place only once it has given those of
    the detector, at one image and at five, to 1e-4, and the same verdicts; otherwise `PandaError` says by how much it
    differs. `UsageError` for a run that is no single graph, or one of more than 2 GB.
    """
    detector = on_cpu(loaded).detector()
    if detector.levels is not None:
        raise UsageError(
            f"Run `{loaded.run_id}` takes the sample values {detector.levels} as black and white, and a graph gets "
            f"pixels of 8 bits, in which these are lost. {INSTEAD}"
        )
    graph = graph_of(detector)
    size = sum(tensor.nbytes for tensor in graph.state_dict().values())
    if kind == "onnx" and size > LARGEST:
        raise UsageError(
            f"Run `{loaded.run_id}` needs {size / 1e9:.1f} GB, most of it normal patches, and an ONNX file holds at "
            f"most {LARGEST / 1e9:.1f}. {INSTEAD}"
        )
    described = description(loaded.run_id, detector, graph)
    images, which = _pictures(loaded, detector)
    with tempfile.TemporaryDirectory(prefix="panda-export-") as folder:
        file = Path(folder) / target.name
        example = torch.from_numpy(_resized(graph, images[:2]))
        write, opened = _KINDS[kind]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the exporters, about themselves
                write(graph, example, described, file)
                difference = _difference(detector, graph, opened(file), images)
        except PandaError:
            raise
        except Exception as error:  # each exporter has its own kinds, for each network others
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise PandaError(f"Run `{loaded.run_id}` cannot be written as {kind}: {first} {INSTEAD}") from error
        if not difference <= TOLERANCE:
            raise PandaError(
                f"What `{target}` gives differs from the run's by {difference:.1e}, more than {TOLERANCE:.0e} of it; "
                f"nothing was written. {INSTEAD}"
            )
        content = file.read_bytes()
    write_atomically(target, lambda out: out.write(content))
    return NetworkFile(target, len(content), difference, which)


def graph_of(detector: PandaDetector) -> DetectorGraph:
    """Return a detector, which lies on the CPU, as a graph; `UsageError` where it is no function of one image."""
    learned = detector.learned_
    if isinstance(learned, Adapted):
        graph: DetectorGraph = score_graph(learned)
    elif isinstance(learned, Patchwise):
        model = learned.model
        if learned.tiles is not None:
            raise UsageError(
                f"Its photos are cut into tiles (`--tiles {learned.tiles.count}`), and a graph takes one picture of "
                f"{learned.tiles.side} px at a time. {INSTEAD}"
            )
        graph = ReferenceGraph(model) if isinstance(model, ReferenceScorer) else MapGraph(model)
    else:
        raise UsageError(f"Recipe `{detector.config.recipe}` cannot be written as one graph. {INSTEAD}")
    return graph.eval().requires_grad_(False)


def on_cpu(loaded: LoadedRun) -> LoadedRun:
    """Return the run again, to be opened on the CPU wherever it was computed."""
    again = LoadedRun(loaded.folder)
    again.config = loaded.config.replace(device="cpu")
    return again


def _write_onnx(graph: DetectorGraph, example: torch.Tensor, described: dict[str, Any], file: Path) -> None:
    program = torch.onnx.export(
        graph,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=list(graph.outputs),
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
    )
    if program is None:
        raise PandaError("the exporter gave nothing.")
    program.model.metadata_props[KEY] = json.dumps(described, allow_nan=False)
    program.save(str(file), external_data=False)


def _open_onnx(file: Path) -> Outputs:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: the rest goes to the terminal past every setting of Python
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda images: tuple(session.run(None, {"images": images}))


def _write_torchscript(graph: DetectorGraph, example: torch.Tensor, described: dict[str, Any], file: Path) -> None:
    with torch.no_grad():
        traced = torch.jit.trace(graph, (example,), check_trace=False)
    torch.jit.save(traced, str(file), _extra_files={EXTRA: json.dumps(described, allow_nan=False)})


def _open_torchscript(file: Path) -> Outputs:
    module = torch.jit.load(str(file))

    def outputs(images: np.ndarray) -> tuple[np.ndarray, ...]:
        with torch.no_grad():
            found = module(torch.from_numpy(images))
        return tuple(output.numpy() for output in (found if isinstance(found, tuple) else (found,)))

    return outputs


_KINDS: dict[
    str, tuple[Callable[[DetectorGraph, torch.Tensor, dict[str, Any], Path], None], Callable[[Path], Outputs]]
] = {
    "onnx": (_write_onnx, _open_onnx),
    "torchscript": (_write_torchscript, _open_torchscript),
}


def _pictures(loaded: LoadedRun, detector: PandaDetector) -> tuple[list[np.ndarray], str]:
    """Return six decoded images and where they are from: the run's test images, or noise where its data is gone."""
    try:
        found = loaded.images("test")
        rows = np.linspace(0, len(found) - 1, sum(BATCHES)).round().astype(int)
        return [found.load(int(row)) for row in rows], "test images of the run"
    except (PandaError, OSError):
        rng, side = np.random.default_rng(0), int(detector.config.image_size or 0)
        shape = (side, side) if detector.region is None else detector.region.shape
        return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(sum(BATCHES))], "random images"


def _resized(graph: DetectorGraph, images: list[np.ndarray]) -> np.ndarray:
    """Return images as the description of a graph says that it gets them: (B, S, S, 3)."""
    region, resized = graph.preprocessing.region, []
    for image in images:
        if region is not None and min(image.shape[:2]) < graph.side:
            image = region.painted(image)
        # What is painted over once they are resized is painted over by the graph.
        resized.append(squared(image, graph.side, dataclasses.replace(graph.preprocessing, region=None)))
    return np.stack(resized)


def _difference(detector: PandaDetector, graph: DetectorGraph, outputs: Outputs, images: list[np.ndarray]) -> float:
    """Return the largest |file - detector| of scores and maps; `PandaError` where a verdict differs."""
    batches = np.split(np.arange(len(images)), np.cumsum(BATCHES)[:-1])
    given = [[images[row] for row in batch] for batch in batches]
    found = [np.concatenate(parts) for parts in zip(*(outputs(_resized(graph, batch)) for batch in given), strict=True)]
    wanted = [np.concatenate([detector.anomaly_scores(batch) for batch in given])]
    if detector.has_maps:
        wanted.append(np.concatenate([detector.anomaly_maps(batch) for batch in given]))
    differing = np.sum(detector.calibration.rejects(found[0]) != detector.calibration.rejects(wanted[0]))
    if differing:
        raise PandaError(f"The file judges {differing} of {len(images)} images otherwise than the run. {INSTEAD}")
    return max(_relative(a, b) for a, b in zip(found, wanted, strict=True))


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the largest |found - wanted|, over what is wanted, or the mean of that where it is larger.

    The mean, because a logit and the distance of a normal image to itself may be 0.
    """
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    if a.shape != b.shape:
        raise PandaError(f"The file gives an array of shape {a.shape} where {b.shape} is wanted; nothing was written.")
    size = np.maximum(np.abs(b), np.abs(b).mean())
    return float(np.max(np.abs(a - b) / np.maximum(size, np.finfo(np.float32).tiny)))
