"""Fixtures for browser tests: the real server in a process of its own, and a headless browser that looks at it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from panda_core.runs.store import ENDED, list_runs  # noqa: E402

STARTS_WITHIN = 20  # seconds
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Server:
    """The app on a free port of this machine, with runs and caches of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"

    def start(self) -> None:
        environment = os.environ | {
            "PANDA_RUNS": str(self.folder / "runs"),
            "PANDA_DATA": str(self.folder / "data"),
            "PANDA_CACHE_DIR": str(self.folder / "cache"),
        }
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        began = time.monotonic()
        while not self._healthy():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - began < STARTS_WITHIN, self.log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)

    def stop_runs(self) -> None:
        """Ask every run to stop, and wait until it has: a run outlives its server."""
        folders = [folder for folder in list_runs(self.folder / "runs") if folder.state().state not in ENDED]
        for folder in folders:
            folder.request_stop()
        began = time.monotonic()
        while any(folder.state().state not in ENDED for folder in folders) and time.monotonic() - began < 30:
            time.sleep(0.1)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that nobody has visited yet."""
    yield from _serve(tmp_path)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that do not care who visited it before."""
    yield from _serve(tmp_path_factory.mktemp("server"))


def _serve(folder: Path) -> Iterator[Server]:
    running = Server(folder)
    running.start()
    yield running
    running.stop()
    running.stop_runs()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium; where there is none, the test is skipped, but not on a CI machine."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    if importlib.util.find_spec("playwright") is None or not Path(path).is_file():
        reason = "browser tests need playwright and a Chromium: install it, or set CHROMIUM to its path"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield launched
        launched.close()


class Visit:
    """A page of the browser that remembers what went wrong on it, and where its requests went."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._request(request.url))
        self.page.on("websocket", lambda socket: self._request(socket.url))

    def _console(self, message: Any) -> None:
        # On a cold deep link the browser part first looks for the server below the page's own path.
        searched = "404" in message.text and "_stcore" in str(message.location)
        if message.type == "error" and not searched:
            self.errors.append(message.text)

    def _request(self, url: str) -> None:
        if url.startswith(("http", "ws")):
            self.hosts.add(url.split("/")[2].split(":")[0])

    def check(self) -> None:
        """Fail if anything was written to the console as an error, or a request left this machine."""
        assert self.errors == []
        assert self.hosts <= {"127.0.0.1"}


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Visit]]:
    """(**browser options) -> a page; all are closed at the end."""
    visits: list[Visit] = []

    def make(**options: Any) -> Visit:
        visits.append(Visit(browser, **options))
        return visits[-1]

    yield make
    for made in visits:
        made.context.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """The folder for pictures of pages: `$PANDA_SCREENSHOTS` if set."""
    folder = Path(os.environ.get("PANDA_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
