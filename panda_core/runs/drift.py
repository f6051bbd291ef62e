"""Whether the share of rejected images is still what the threshold promised: an exact test over the last images."""

from __future__ import annotations

from collections import deque

from panda_core.runs.calibration import FalseAlarms

WINDOWS = (100, 1000)  # last images over which a share is told and tested
# Of the test. It is repeated at every image, so that it must be small: of 1,000 simulated detectors with 19 to 1,000
# calibrating images, each given 10,000 images of which nothing had changed, at most 2.4 % warned (100 calibrating
# images; most of these promised a share that the true one does not have), and none of a detector that keeps its promise
# with up to 200.
LEVEL = 1e-4


class Drift:
    """The share of rejects over the last images, and a warning once it parts from what was promised.

    It parts where even the nearer end of the promised 95 % interval explains so many, or so few, rejects with a
    probability below `LEVEL` (exact binomial test). Defects raise the share as well as other light does: which of the
    two it is, a look at the rejects tells. promised: None where no image calibrates; then nothing is ever warned of.
    """

    def __init__(self, promised: FalseAlarms | None) -> None:
        self.promised = promised
        self._last: dict[int, deque[bool]] = {window: deque(maxlen=window) for window in WINDOWS}
        self._rejected = dict.fromkeys(WINDOWS, 0)
        self._expected = {} if promised is None else {window: _expected(window, promised) for window in WINDOWS}
        self._parted = dict.fromkeys(WINDOWS, False)

    def share(self, window: int) -> float | None:
        """Return the share of rejects among the last `window` images, or of as many as there are; None without any."""
        last = self._last[window]
        return self._rejected[window] / len(last) if last else None

    def add(self, rejected: bool) -> str:
        """Return a warning where the share of a full window parts from the promise with this image, "" elsewhere.

        Each window warns once, and again only after its share was back within the promised interval.
        """
        told = ""
        for window, last in self._last.items():
            is_full = len(last) == window
            self._rejected[window] += rejected - (last[0] if is_full else 0)
            last.append(rejected)
            if len(last) == window and (warning := self._parting(window)):
                told = warning
        return told

    def _parting(self, window: int) -> str:
        """Return a warning where the share of a full window parts from the promise now, and did not before."""
        if self.promised is None:
            return ""
        count, (fewest, most) = self._rejected[window], self._expected[window]
        before, parts = self._parted[window], not fewest <= count <= most
        is_back = self.promised.low <= count / window <= self.promised.high
        self._parted[window] = parts or (before and not is_back)
        return self._told(count, window) if parts and not before else ""

    def sentence(self) -> str:
        """Return the shares over the last images beside what was promised."""
        shares = ", ".join(
            f"{100 * share:.1f} % of the last {size:,}"
            for size, share in sorted({(len(last), self.share(window)) for window, last in self._last.items()})
            if share is not None
        )
        if not shares:
            return "Nothing was judged yet."
        return f"Rejected: {shares}; promised for normal images: {self._promise()}."

    def _promise(self) -> str:
        if self.promised is None:
            return "nothing, since no image calibrates"
        low, high = 100 * self.promised.low, 100 * self.promised.high
        return f"{100 * self.promised.expected:.1f} % ({low:.1f} to {high:.1f} %)"

    def _told(self, count: int, window: int) -> str:
        high = self.promised is not None and count / window > self.promised.high
        why = (
            "defects, or the images have changed" if high else "the same image again and again, or images have changed"
        )
        return (
            f"{count} of the last {window:,} images were rejected; {self._promise()} of normal ones were promised: "
            f"{why}. Look at the last images."
        )


def _expected(window: int, promised: FalseAlarms) -> tuple[int, int]:
    """Return the fewest and the most rejects among `window` images that the promised interval explains at `LEVEL`."""
    from scipy.special import bdtr, bdtrc  # slow to import; binomial distribution, up to k and above k

    fewest = next(count for count in range(window + 1) if bdtr(count, window, promised.low) >= LEVEL)
    most = next(
        count for count in range(window, -1, -1) if count == 0 or bdtrc(count - 1, window, promised.high) >= LEVEL
    )
    return fewest, most
