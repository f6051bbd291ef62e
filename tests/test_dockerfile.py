"""The Dockerfile, without a builder: what it copies is all that the app needs, and its command and check work."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STARTS_WITHIN = 60  # seconds
USER = 1000


def steps() -> list[tuple[str, str]]:
    """Return (instruction, what follows) of each line; none of them goes on in the next."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line and not line.startswith("#")]


def command_of(instruction: str) -> list[str]:
    """Return the words of a step that gives its command as a JSON list, with this Python in place of the image's."""
    (text,) = [text for name, text in steps() if name == instruction]
    words: list[str] = json.loads(text[text.index("[") :])
    return [sys.executable if word == "python" else word for word in words]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the image has in /app, copied step by step."""
    folder = tmp_path_factory.mktemp("image") / "app"
    folder.mkdir()
    for name, text in steps():
        if name == "COPY":
            *sources, target = text.split()
            for source in sources:
                if (ROOT / source).is_dir():
                    ignored = shutil.ignore_patterns("__pycache__", "screenshots", "notebook.ipynb")
                    shutil.copytree(ROOT / source, folder / target, ignore=ignored)
                else:
                    shutil.copy(ROOT / source, folder / target)
    return folder


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(app: Path, port: int, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the image's command in the copied folder, on a free port; what lies in /data lies in a temporary folder."""
    (settings,) = [text for name, text in steps() if name == "ENV"]
    folders = dict(item.split("=") for item in settings.replace("=/data", f"={tmp_path}/data").split())
    assert set(folders) == {"PANDA_RUNS", "PANDA_DATA", "PANDA_CACHE_DIR"}
    guard = os.environ["PYTHONPATH"].split(os.pathsep)[0]
    environment = {**os.environ, **folders, "PYTHONPATH": guard, "STREAMLIT_SERVER_PORT": str(port)}
    process = subprocess.Popen(
        command_of("CMD"), cwd=app, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield process
    process.terminate()
    process.communicate(timeout=30)


def test_the_command_starts_and_the_check_tells(server: subprocess.Popen[str], port: int) -> None:
    """An image whose app does not start; a check that is content with a server that is not there."""
    check = [word.replace("8501", str(port)) for word in command_of("HEALTHCHECK")]
    assert any(str(port) in word for word in check)
    assert subprocess.run(check, capture_output=True).returncode != 0, "nothing listens yet"
    began = time.monotonic()
    while subprocess.run(check, capture_output=True).returncode != 0:
        assert server.poll() is None, server.communicate()[0]
        assert time.monotonic() - began < STARTS_WITHIN
        time.sleep(0.3)


def test_all_that_the_app_needs_is_copied(app: Path) -> None:
    """A page that asks for a file which lies in the repository and not in the image."""
    kept = {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()}
    for folder in ("pages", "panda_core", "assets/lessons", "assets/recorded"):
        files = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert {name for name in files if "__pycache__" not in name} <= kept
    assert {"app.py", "main.py", ".streamlit/config.toml", "assets/icon.svg", "assets/logo.svg"} <= kept
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == {source for name, text in steps() if name == "COPY" for source in text.split()[:-1]}


def test_the_image_runs_without_rights_and_with_the_pins() -> None:
    """An app that runs as root; versions beside the one list; a build for CUDA of gigabytes."""
    names = [name for name, _ in steps()]
    assert names.index("USER") > max(row for row, name in enumerate(names) if name in ("RUN", "COPY"))
    assert ("USER", "panda") in steps() and any(f"--uid {USER} panda" in text for _, text in steps())
    (install,) = [text for name, text in steps() if name == "RUN" and "pip" in text]
    assert re.fullmatch(
        r"pip install --no-cache-dir --extra-index-url https://download\.pytorch\.org/whl/cpu -r requirements\.txt",
        install,
    )
