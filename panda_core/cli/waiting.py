"""A process that is ready to compute: it imports what a run needs, then reads from its input what to do.

`panda_core.runs.launch` starts it as `python -m panda_core.cli.waiting`. A line is the path of a run to compute, or a
JSON list: the arguments of `panda_core.cli.checking`, or of `panda_core.cli.exporting.bundle_main` if it holds two. An
end of input instead means that whoever started it is gone: it ends too. Once it computes, it depends on nobody.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from panda_core.cli import main as command_line
from panda_core.cli import wait_without_spinning
from panda_core.cli.checking import main as check
from panda_core.cli.exporting import bundle_main as bundle
from panda_core.torchvision_operators import load_timm


def main() -> int:
    """Compute one run, queued, or check images; return the exit code."""
    wait_without_spinning()
    # torch._dynamo: torch's compiler, which nothing here uses, but which torch imports, for two seconds, with the first
    # optimiser: between the click and the first point.
    for module in ("faiss", "sklearn.cluster", "panda_core.runs.run", "torch._dynamo"):
        importlib.import_module(module)
    load_timm()
    path = sys.stdin.readline().strip()
    if not path:
        return 0
    if path.startswith("["):
        arguments = json.loads(path)
        return (bundle if len(arguments) == 2 else check)(arguments)
    with open(Path(path) / "output.log", "ab") as output:
        os.dup2(output.fileno(), 2)  # what a run has to complain of belongs into its folder
    return command_line(["resume", path, "--queue", "--json"])


if __name__ == "__main__":
    sys.exit(main())
