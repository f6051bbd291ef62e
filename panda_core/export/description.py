"""What travels inside an exported graph: how to make its input, how to read its output, and every threshold."""

from __future__ import annotations

import base64
import io
from typing import Any

import PIL
import torch
from PIL import Image

from panda_core import __version__
from panda_core.export.graph import DetectorGraph
from panda_core.features.trunk import resampling_of
from panda_core.region import PAINT, Region
from panda_core.runs.detector import PandaDetector

KEY = "panda_core"  # under which it lies among the metadata of an ONNX file, as JSON
FORMAT, VERSION = "panda-graph", 1  # raise the version when a reader of before would misread what is written now


def description(run_id: str, detector: PandaDetector, graph: DetectorGraph) -> dict[str, Any]:
    """Return what a user of the file has to know, as JSON."""
    config, calibration = detector.config, detector.calibration
    side, crop, resampling = graph.side, graph.preprocessing.crop, resampling_of(graph.preprocessing).name
    short = round(side / crop) if crop < 1 else None
    resize = f"the short side becomes {short}, the center {side} x {side} is cut out" if short else "all is squeezed"
    about: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "run": run_id,
        "recipe": config.recipe,
        "backbone": str(config.backbone),
        "scorer": str(config.scorer),
        "normal_class": config.normal_class,
        "classes": ["normal", "anomalous"],
        "input": f"images: uint8 (B, {side}, {side}, 3), RGB, 0 to 255; normalised inside",
        "decoding": "the first frame, turned as EXIF says, over white where transparent, the highest 8 bits a sample",
        "side": side,
        "short": short,
        "filter": resampling,
        "resize": f"to {side} x {side} as Pillow's {resampling} does; {resize}",
        "scores": "float32 (B,), higher = more anomalous",
        "threshold": calibration.threshold(),
        "threshold_meaning": f"an image is anomalous whose score is higher. {calibration.sentence()}",
        "edges": calibration.edges.tolist(),
        "edges_meaning": "of H ascending edges, number ceil((H + 1)(1 - rate)), or the last, is the threshold for "
        "a rate of false alarms; the share of edges below a score is its percentile",
        "calibration": calibration.summary(),
        "made_with": {"panda_core": __version__, "pillow": PIL.__version__, "torch": torch.__version__},
    }
    if (region := graph.preprocessing.region) is not None:
        about["region"] = (
            f"a part of each image counts ({100 * region.marked.mean():.1f} %), the rest is painted over inside. The "
            f"region has {region.shape[1]} x {region.shape[0]} pixels, and images must be in that shape; those whose "
            f"shorter side has fewer than {side} pixels have to be painted over outside of it before they are resized"
        )
        about |= {"region_png": _png_of(region), "region_paint": PAINT, "region_sha256": region.sha256}
    if "maps" in graph.outputs:
        about["maps"] = f"float32 (B, {config.image_size}, {config.image_size}) over the whole image, squeezed into a "
        about["maps"] += "square; higher = more anomalous; 1 is as far from normal as held-out normal patches are"
        about["map_low"], about["map_middle"] = calibration.map_low, calibration.map_middle
    return about


def _png_of(region: Region) -> str:
    """Return a region as PNG in base64, white where pictures count."""
    file = io.BytesIO()
    Image.fromarray(region.marked).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
