"""`doctor`: what it says of an installation that works, and of one that does not."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from panda_core.cli import main
from panda_core.cli.listing import PACKAGES

Capture = pytest.CaptureFixture[str]


def call(*arguments: str) -> int:
    return main(list(arguments))


def printed(capsys: Capture, *arguments: str, code: int = 0) -> Any:
    """Return the JSON that a command prints."""
    assert call(*arguments, "--json") == code
    return json.loads(capsys.readouterr().out)


def test_doctor_finds_this_installation_in_order(capsys: Capture) -> None:
    """A check that fails on a machine where everything works; data that has to be fetched counted as a fault."""
    checks = {row["check"]: row for row in printed(capsys, "doctor")}
    assert all(row["works"] for row in checks.values() if row["essential"])
    assert not checks["data set cifar10"]["works"] and "fetch" in checks["data set cifar10"]["found"]
    assert call("doctor") == 0
    assert "device" not in checks and "doctor --load" in capsys.readouterr().out
    loaded = {row["check"]: row for row in printed(capsys, "doctor", "--load")}
    assert loaded["device"]["works"] and "cpu" in loaded["device"]["found"]
    assert set(loaded) - {"device"} == set(checks) and all(loaded[name]["works"] for name in PACKAGES)


@pytest.mark.parametrize("how", [[], ["--load"]])
def test_doctor_names_a_package_that_is_not_there(
    how: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation that is called whole, though a run would end at its first import."""
    monkeypatch.setitem(PACKAGES, "no_such_module", "no-such-package")
    monkeypatch.setitem(sys.modules, "plotly", None)  # what Python has of a package that cannot be imported
    checks = {row["check"]: row for row in printed(capsys, "doctor", *how, code=1)}
    assert not checks["no_such_module"]["works"] and not checks["plotly"]["works"]
    assert how or "`pip install no-such-package`" in checks["no_such_module"]["found"]


def test_doctor_says_what_is_broken(capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 0 where a run cannot work."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("PANDA_CACHE_DIR", str(tmp_path / "file"))
    checks = {row["check"]: row for row in printed(capsys, "doctor", code=1)}
    assert not checks["cache folder"]["works"]
