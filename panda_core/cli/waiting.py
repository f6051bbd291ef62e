"""A process that is ready to compute: it imports what a run needs, then reads the run's path from its input.

`panda_core.runs.launch` starts it as `python -m panda_core.cli.waiting`. An end of input instead of a path means
that whoever started it is gone: it ends too. Once it computes, it depends on nobody.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> int:
    """Compute one run, queued, and return the exit code of `resume`."""
    import faiss  # noqa: F401  imported ahead of need
    import sklearn.cluster  # noqa: F401
    import timm  # noqa: F401

    import panda_core.runs.record
    import panda_core.torchvision_operators  # noqa: F401
    from panda_core.cli import main as command_line

    path = sys.stdin.readline().strip()
    if not path:
        return 0
    with open(Path(path) / "output.log", "ab") as output:
        os.dup2(output.fileno(), 2)  # what a run has to complain of belongs into its folder
    return command_line(["resume", path, "--queue", "--json"])


if __name__ == "__main__":
    sys.exit(main())
