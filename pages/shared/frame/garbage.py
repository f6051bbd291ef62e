"""What the server's garbage collector need not look at: Streamlit has it go through all objects after every run of a
script, and nearly all of them, some hundred thousand, belong to imported modules, which stay for good.
"""

from __future__ import annotations

import gc
import sys

_known = 0  # modules whose objects are left alone


def leave_modules_alone() -> None:
    """Have later collections pass over all objects that are there now, if modules were imported since the last call.

    What dies without a cycle is freed as ever. A cycle that is alive now is never found: few are, in the first visits.
    """
    global _known
    if len(sys.modules) > _known:
        _known = len(sys.modules)
        gc.collect()
        gc.freeze()
