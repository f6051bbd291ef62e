"""How the threads of libraries behave where others compute beside them. Light: nothing is imported."""

from __future__ import annotations

import os

# torch's idle threads sleep. By default one that waits for another spins on its core; with a browser or a second run on
# the same two cores, the one it waits for then gets no time: steps were seen to take two to five times longer.
# NumPy's and SciPy's BLAS uses one thread. Its threads spin as well, for products that take microseconds: with others
# on the two cores a map of 300 px took 3 to 40 ms in place of 0.2, on cores of its own 0.1 in place of 0.06; a whole
# run took 15 to 25 % more processor time. A decomposition of a large space takes 0.1 to 0.2 s longer, up to a half.
SETTINGS = {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}


def thread_settings() -> dict[str, str]:
    """Return an environment with these settings, where it has none of its own.

    The libraries read it when they are imported.
    """
    return {**SETTINGS, **os.environ}
