"""Does adapting help, where, by how much, at what cost: one table of figures that other sections measured."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks import adapting, gains
from tests.benchmarks.bench import kept_results

Row = dict[str, str]
TEN = "10 steps at rate 1.2"
WHITENED = "whitened, the default"
NOTE = (
    "Nothing is measured here: the rows are of `adapting` (at most 300 normal images), of `gains` (1,000, and all "
    "5,000) and of `whitening` (at most 200), which say how. AUROC on test images, EfficientNet-Lite0 unless three "
    "networks are named, Lite0 to 2; `gain` is paired by class and seed, in the rows of `gains` by class (three seeds "
    "in the first of them, one in the others), mean and 95 % interval. `relative-mahalanobis` compares with "
    "photographs. `seconds` is the training of one class: on two busy cores in the first rows, a quarter of that of "
    "40 steps; in those of `gains` of one core's time, measured with 1,000 images (ten steps are the same with "
    "5,000). The last rows set features that are not whitened, adapted up to the best of 40 steps, chosen with test "
    "labels, against features that are whitened and not adapted."
)


def answer() -> Iterator[Row]:
    """Each comparison of an adapted with an unadapted network that has test images and an interval."""
    kept = {name: kept_results()[name]["rows"] for name in ("adapting", "gains", "whitening")}
    yield from _by_data(kept["adapting"])
    yield from _by_remedy(kept["gains"])
    yield from _not_whitened(kept["whitening"])
    yield {"note": NOTE}


def _row(data: str, images: str, adapted: str, twin: str, before: str, after: str, gain: str, seconds: str = "") -> Row:
    cells = {"data": data, "normal images": images, "adapted": adapted, "not adapted": twin}
    return {**cells, "AUROC, not adapted": before, "AUROC, adapted": after, "gain": gain, "seconds": seconds}


def _by_data(rows: list[Row]) -> Iterator[Row]:
    step = adapting.JUDGED
    share = step / adapting.STEPS[-1]
    for row in rows:
        if row.get("space") == WHITENED:
            seconds = f"{share * float(row['seconds']):.0f}"
            yield _row(
                row["data"], "300", f"after blocks.2, {TEN}", "kNN", row["0"], row[str(step)], row["gain"], seconds
            )


def _by_remedy(rows: list[Row]) -> Iterator[Row]:
    """The rows judged on test images of all ten classes of CIFAR-10, each beside its twin."""
    judged = [row for row in rows if "all ten" in row]
    seconds = {row["remedy"]: row["seconds"] for row in rows if "seconds" in row}
    before = {(row["remedy"], row.get("normal images")): row["all ten"] for row in judged}
    for row in judged:
        key, images = row["remedy"], row.get("normal images")
        twin = gains.REMEDIES[key].against
        if twin:
            yield _row(
                "cifar10",
                images or f"{gains.NORMALS:,}",
                key,
                twin,
                before[twin, images],
                row["all ten"],
                row["gain, all ten"],
                seconds[key],
            )


def _not_whitened(rows: list[Row]) -> Iterator[Row]:
    curves = {(row["data"], row["space"]): row for row in rows if WHITENED.split(",")[0] + ", not adapted" in row}
    for row in rows:
        if "best at" in row:
            curve = curves[row["data"], row["space"]]
            after, before = curve[row["best at"]], curve["whitened, not adapted"]
            adapted = f"{row['space']}, best step ({row['best at']})"
            yield _row(row["data"], "200", adapted, "whitened, not adapted, kNN", before, after, row["best - whitened"])
