"""The repair of `import torchvision` leaves a compiled library that loads alone, whatever it is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch


@pytest.mark.parametrize("name", ["_C.so", "_C_stable.so"])
def test_torchvisions_library_is_found_under_each_of_its_names(tmp_path: Path, name: str) -> None:
    """A process that aborts at `import torchvision`: since 0.29 its library is called otherwise, and was not seen."""
    folder = tmp_path / "torchvision"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / name).symlink_to(next(Path(torch.__file__).parent.glob("lib/libc10.*")))  # one that loads here
    program = "import panda_core.torchvision_operators as repair; assert repair.declare_operators() is None"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
