"""Commands that compute nothing start without what computes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "timm", "torchvision", "sklearn", "scipy", "faiss", "pandas", "streamlit")
LIGHT = (
    ["--help"],
    ["doctor"],
    ["list"],
    ["recipes"],
    ["scorers"],
    ["backbones"],
    ["bench", "--help"],
    ["score", "--help"],
)


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    """A module of the command line that imports, at its top, one that computes: every command then waits for torch."""
    code = (
        "import sys\nfrom panda_core.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"sys.exit(' '.join(name for name in {HEAVY!r} if name in sys.modules) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True, cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PANDA_RUNS": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_run_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    """Seconds between an order to start and the first point, for a compiler, tables and statistics that no run uses."""
    code = (
        "import sys\nfrom panda_core.cli import main\nfailed = main(sys.argv[1:])\n"
        "unused = [name for name in ('torch._dynamo', 'sklearn', 'pandas', 'timm') if name in sys.modules]\n"
        "sys.exit(failed or ' '.join(unused) or None)"
    )
    flags = ("--dataset", "digits", "--image-size", "32", "--steps", "1", "--train-limit", "8", "--test-limit", "10")
    done = subprocess.run(
        [sys.executable, "-c", code, "run", *flags, "--runs-dir", str(tmp_path)],
        check=False, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("start", "then"),
    [("from panda_core.cli import main\nmain(['list'])", ""), ("import app", "import numpy, scipy.linalg\n")],
    ids=["command", "server"],
)
def test_small_products_do_not_wait_for_threads_that_spin(start: str, then: str, tmp_path: Path) -> None:
    """NumPy was imported before its setting was there: beside other work a map took a hundred times as long to draw."""
    code = (
        f"import sys\n{start}\n{then}from threadpoolctl import threadpool_info\n"
        "threads = [pool['num_threads'] for pool in threadpool_info() if pool['internal_api'] == 'openblas']\n"
        "sys.exit(None if threads and set(threads) == {1} else f'{threads} threads')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PANDA_RUNS": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
