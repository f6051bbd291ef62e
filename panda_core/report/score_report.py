"""The report of a scored folder for the shop floor: how many were rejected, and where, on one page without a network.

However many images there are, the page stays small: the worst have pictures, further rejects a row, and all of them a
line of the table that the page carries along.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import heapq
import io
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import numpy as np

from panda_core.figures.heatmaps import FADED, Region, faded, fixed_scale, framed, heated, regions, shrunk
from panda_core.records import plain_cell
from panda_core.report.page import Html, document, element, picture, table
from panda_core.runs.calibration import ANOMALOUS, NORMAL, RATE
from panda_core.runs.detector import PandaDetector
from panda_core.runs.score import COLUMNS, ScoredImage, map_of

PICTURES = 40  # of the worst rejects: a page of some megabytes
ROWS = 500  # of further rejects, and of files that cannot be read
BOXES = 3  # of each picture that are told in words, the largest first
SIDE = 320  # pixels of a picture
CSV_COLUMNS = (*COLUMNS, "largest box", "its area")


@dataclasses.dataclass(frozen=True)
class _Row:
    """What is kept of every image. largest: the largest region of its map above normal ones, of rejects alone."""

    name: str
    score: float | None
    percentile: float | None
    verdict: str
    largest: Region | None

    def cells(self) -> list[object]:
        """Return the cells of `CSV_COLUMNS`."""
        box, area = ("", "") if self.largest is None else (_place(self.largest), self.largest.area)
        known = (self.score, self.percentile, self.verdict)
        return [plain_cell(self.name), *("" if cell is None else cell for cell in known), box, area]


@dataclasses.dataclass(frozen=True)
class _Reject:
    """A rejected image with a picture. regions: of its map above normal ones, in pixels of the photo.

    size: (width, height) of the photo. small: its pixels, shrunk. values: its map, None of detectors without.
    """

    name: str
    score: float
    size: tuple[int, int]
    small: np.ndarray
    values: np.ndarray | None
    regions: list[Region]


class ScoreReport:
    """What a page tells of scored images: `add` each of them, then `page`. rate: of false alarms, for the verdicts."""

    def __init__(self, detector: PandaDetector, name: str, *, rate: float = RATE) -> None:
        self.detector, self.name, self.rate = detector, name, rate
        self._rows: list[_Row] = []
        self._worst: list[tuple[float, int, _Reject]] = []  # a heap; the number decides between equal scores

    def add(self, scored: ScoredImage) -> None:
        """Take an image into account; its pixels are kept small, and only while it is among the worst."""
        found: list[Region] = []
        if scored.verdict == ANOMALOUS and scored.image is not None and scored.score is not None:
            values, size = map_of(self.detector, scored), (scored.image.shape[1], scored.image.shape[0])
            found = self._regions(values, size)
            reject = _Reject(scored.name, scored.score, size, shrunk(scored.image, SIDE), values, found)
            heapq.heappush(self._worst, (scored.score, -len(self._rows), reject))
            if len(self._worst) > PICTURES:
                heapq.heappop(self._worst)
        largest = found[0] if found else None
        self._rows.append(_Row(scored.name, scored.score, scored.percentile, scored.verdict, largest))

    def page(self, now: datetime | None = None) -> str:
        """Return the report as HTML that needs no other file and no network. now: when it was made."""
        title = f"{len(self._rows):,} images, judged by {self.name}"
        made = (now or datetime.now()).strftime("%Y-%m-%d %H:%M")
        return document(
            title,
            element("h1", title),
            element("p", f"Made at {made}.", class_="faint"),
            *self._numbers(),
            *self._rejects(),
            *self._unreadable(),
            *self._all(),
        )

    def _regions(self, values: np.ndarray | None, size: tuple[int, int]) -> list[Region]:
        """Return where a map lies above what maps of normal images reach, in pixels of the photo, the largest first."""
        level = self.detector.calibration.map_middle
        if values is None or level is None:
            return []
        across, down = size[0] / values.shape[1], size[1] / values.shape[0]
        return [region.scaled(across, down) for region in regions(values, level)]

    def _numbers(self) -> Iterator[Html]:
        calibration, verdicts = self.detector.calibration, Counter(row.verdict for row in self._rows)
        judged, rejected = sum(row.score is not None for row in self._rows), verdicts[ANOMALOUS]
        threshold, alarms = calibration.threshold(self.rate), calibration.false_alarms(self.rate)
        shown = [
            ("images", f"{len(self._rows):,}"),
            ("rejected", f"{rejected:,}"),
            ("of those that were judged", f"{100 * rejected / judged:.1f} %" if judged else "–"),
            ("normal", f"{verdicts[NORMAL]:,}"),
            ("not read", f"{len(self._rows) - judged:,}"),
            ("threshold", "–" if threshold is None else f"{threshold:.4g}"),
        ]
        if alarms is not None:
            shown.append(("false alarms to expect, of normal images", f"{100 * alarms.expected:.1f} %"))
            shown.append(("its 95 % interval", f"{100 * alarms.low:.1f} to {100 * alarms.high:.1f} %"))
        yield element("div", *(element("div", element("b", value), name) for name, value in shown), class_="numbers")
        yield element("p", calibration.sentence(self.rate))
        if calibration.warning:
            yield element("p", calibration.warning)

    def _rejects(self) -> Iterator[Html]:
        worst = [reject for *_, reject in sorted(self._worst, key=lambda item: item[:2], reverse=True)]
        if not worst:
            return
        yield element("h2", "Rejected, the worst first")
        if any(reject.regions for reject in worst):
            told = (
                "A box is where the map lies above what 99.9 % of the pixels of normal maps reach. Places and areas "
                "are in pixels of the photo. An image is rejected by its score alone."
            )
            yield element("p", told, class_="faint")
        if self.detector.region is not None:
            yield element("p", FADED, class_="faint")
        yield element("div", *map(self._picture, worst), class_="images large")
        rejected = [(row.score, row) for row in self._rows if row.verdict == ANOMALOUS and row.score is not None]
        rest = [row for _, row in sorted(rejected, key=lambda item: -item[0])[len(worst) :]]
        if rest:
            yield element("h2", f"Further rejects: {len(rest):,}")
            rows = [(row.name, f"{row.score:.4g}", *row.cells()[-2:]) for row in rest[:ROWS]]
            yield table(("image", "score", "largest box", "its area"), rows, numbers=(1, 3))
            yield from _more(len(rest))

    def _picture(self, reject: _Reject) -> Html:
        drawn = reject.small
        if (counts := self.detector.region) is not None:
            drawn = faded(drawn, counts.inside((drawn.shape[0], drawn.shape[1])))
        if reject.values is not None:
            calibration = self.detector.calibration
            drawn = heated(drawn, reject.values, fixed_scale(calibration.map_low, calibration.map_middle))
        across, down = (drawn.shape[1] / reject.size[0], drawn.shape[0] / reject.size[1])
        for region in reject.regions:
            box = region.scaled(across, down)
            drawn = framed(drawn, (box.left, box.top, box.left + box.width, box.top + box.height))
        told = [f"{_place(region)}: {region.area:,} px" for region in reject.regions[:BOXES]]
        if len(reject.regions) > BOXES:
            told.append(f"and {len(reject.regions) - BOXES} smaller")
        lines = [element("span", line, Html("<br>")) for line in told]
        caption = element("span", element("b", f"{reject.score:.4g}"), " ", reject.name, Html("<br>"), *lines)
        about = f"{reject.name}, rejected, score {reject.score:.4g}, {len(reject.regions)} boxes"
        return picture(drawn, caption, about=about, kind="anomalous", side=SIDE)

    def _unreadable(self) -> Iterator[Html]:
        rows = [(row.name, row.verdict) for row in self._rows if row.score is None]
        if rows:
            yield element("h2", "Not read")
            yield table(("file", "why"), rows[:ROWS])
            yield from _more(len(rows))

    def _all(self) -> Iterator[Html]:
        """Yield the table of all images as a file within the page."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(CSV_COLUMNS)
        writer.writerows(row.cells() for row in self._rows)
        data = base64.b64encode(text.getvalue().encode()).decode()
        yield element("h2", "All images")
        link = element("a", "scores.csv", href=f"data:text/csv;base64,{data}", download="scores.csv")
        yield element("p", link, f": {len(self._rows):,} rows with score, percentile, verdict and largest box.")


def _place(region: Region) -> str:
    """Return a box in words: its size, and its upper left corner."""
    return f"{region.width} × {region.height} at {region.left}, {region.top}"


def _more(count: int) -> Iterator[Html]:
    if count > ROWS:
        yield element("p", f"And {count - ROWS:,} more, which `scores.csv` below names.")
