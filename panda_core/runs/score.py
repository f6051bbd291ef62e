"""Scoring image files with a detector: a row for each, as it comes. Importing this loads no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from panda_core.datasets.io.ahead import PIXELS, Decoded, decoded_ahead
from panda_core.errors import UnreadableImage
from panda_core.runs.calibration import RATE
from panda_core.runs.detector import PandaDetector
from panda_core.segmentation.maps import full_map
from panda_core.segmentation.tiles import drawing_of

if TYPE_CHECKING:
    from panda_core.segmentation.results import PatchResult

BATCH = 64
COLUMNS = ("path", "score", "percentile", "verdict")


@dataclasses.dataclass(frozen=True)
class ScoredImage:
    """What a detector says of an image file.

    name: what the file is called in front of a person.
    score: higher = more anomalous; None where the file cannot be decoded.
    percentile: of calibrating images that score lower, in [0, 100]; None where none calibrates, or without a score.
    verdict: "anomalous", "normal", "-" where no image calibrates, or "unreadable: " and why.
    image: the decoded pixels (H, W, 3), uint8; None where the file cannot be decoded.
    result: map and nearest normal patches, of detectors with maps.
    """

    name: str
    score: float | None
    percentile: float | None
    verdict: str
    image: np.ndarray | None = None
    result: PatchResult | None = None

    def row(self) -> dict[str, Any]:
        """Return the values of `COLUMNS`, by column."""
        return dict(zip(COLUMNS, (self.name, self.score, self.percentile, self.verdict), strict=True))


Batch = list[tuple[str, Decoded]]


def score_files(
    detector: PandaDetector, files: Sequence[tuple[str, Path]], *, rate: float = RATE, batch: int = BATCH
) -> Generator[ScoredImage, None, None]:
    """Yield what the detector says of each (name, file), in order. rate: of false alarms, for the verdicts.

    Files that cannot be decoded are named, and end nothing. While a batch is scored, what follows is decoded.
    """
    for decoded in _decoded(detector, files, batch):
        yield from score_decoded(detector, decoded, rate)


def _decoded(detector: PandaDetector, files: Sequence[tuple[str, Path]], batch: int) -> Iterator[Batch]:
    """Yield batches of (name, decoded image, or why there is none)."""
    decoded: Batch = []
    pixels = 0
    for (name, _), image in decoded_ahead(lambda file: detector.decode(file[1], file[0]), files):
        decoded.append((name, image))
        pixels += image.shape[0] * image.shape[1] if isinstance(image, np.ndarray) else 0
        if len(decoded) == batch or pixels > PIXELS:
            yield decoded
            decoded, pixels = [], 0
    if decoded:
        yield decoded


def score_decoded(detector: PandaDetector, decoded: Batch, rate: float = RATE) -> Iterator[ScoredImage]:
    """Yield what the detector says of each (name, decoded image, or why there is none) of a batch."""
    images = [image for _, image in decoded if isinstance(image, np.ndarray)]
    result = detector.segment(images) if images and detector.has_maps else None
    scores = detector.anomaly_scores(images) if result is None else result.scores
    calibration, row = detector.calibration, 0  # row: of the images that could be decoded
    for name, image in decoded:
        if isinstance(image, UnreadableImage):
            yield ScoredImage(name, None, None, f"unreadable: {image}")
            continue
        score = float(scores[row])
        own = None if result is None else result.row(row)
        yield ScoredImage(name, score, calibration.percentile(score), calibration.verdict(score, rate), image, own)
        row += 1


def map_of(detector: PandaDetector, scored: ScoredImage) -> np.ndarray | None:
    """Return the map (H, W) of a scored image, higher = more anomalous; None where it has none."""
    if scored.result is None:
        return None
    return full_map(scored.result.grids[0], *drawing_of(detector.config), detector.region)
