"""Fixtures for browser tests: the real server in a process of its own, and a headless browser that looks at it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
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

from panda_core.runs.folder import ENDED, list_runs  # noqa: E402

STARTS_WITHIN = 60  # seconds
WINDOW = {"width": 1280, "height": 900}
# Whether a page has had the same elements, none of them half-faded or a placeholder, for half a second.
STILL = """() => {
    const moving = document.querySelector('[data-stale="true"], [data-testid="stSkeleton"]');
    const count = moving ? -1 : document.querySelectorAll('*').length;
    if (count < 0 || !window.still || window.still.count !== count) window.still = { count, since: performance.now() };
    return performance.now() - window.still.since > 500;
}"""
# How many measurements the film on a page holds: it lies in a tree of its own.
MEASURED = """() => {
    const inside = (node) => node.querySelector('.machine') ||
        [...node.querySelectorAll('*')].map((one) => one.shadowRoot && inside(one.shadowRoot)).find(Boolean);
    return Number(inside(document)?.dataset.measured ?? 0);
}"""
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
        """End the server. It waits for requests that an open page has not ended: then it is killed."""
        self.process.terminate()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop_runs(self) -> None:
        """Ask every run to stop, and wait until it has: a run outlives its server."""
        folders = [folder for folder in list_runs(self.folder / "runs") if folder.state().state not in ENDED]
        for folder in folders:
            folder.request_stop()
        began = time.monotonic()
        while any(folder.state().state not in ENDED for folder in folders) and time.monotonic() - began < 30:
            time.sleep(0.1)

    @contextlib.contextmanager
    def held_runs(self) -> Iterator[None]:
        """Have the processes of this server wait: a run that is to last until a page is there computes no more."""
        held = [process for process, parent in _parents().items() if parent == self.process.pid]
        assert held, "no process computes"
        for process in held:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in held:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _parents() -> dict[int, int]:
    """Return the parent of every process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            found[int(path.name)] = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
    return found


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


@pytest.fixture(scope="session")
def context(browser: Any) -> Iterator[Any]:
    """One person's browser: what a page loads is fetched and compiled once, and every visit is a tab."""
    made = browser.new_context(viewport=WINDOW)
    yield made
    made.close()


# Pictures on the page that did not load.
BROKEN_PICTURES = """() => [...document.images].filter(image => image.complete && !image.naturalWidth && image.src)
    .map(image => image.src)"""


# The largest share of the window below its header that something takes, also inside of a component.
_SHARE = """([found, header]) => {
    let most = 0;
    const look = (root) => {
        for (const node of root.querySelectorAll(found)) {
            const box = node.getBoundingClientRect();
            const wide = Math.min(box.right, innerWidth) - Math.max(box.left, 0);
            const tall = Math.min(box.bottom, innerHeight) - Math.max(box.top, header);
            most = Math.max(most, (Math.max(wide, 0) * Math.max(tall, 0)) / (innerWidth * (innerHeight - header)));
        }
        for (const node of root.querySelectorAll('*')) if (node.shadowRoot) look(node.shadowRoot);
    };
    look(document);
    return most;
}"""
HEADER = 60  # pixels


def share_of_screen(page: Any, found: str) -> float:
    """Return the share of the first screen, at the size that the window has, of what a selector finds."""
    page.locator(found).first.wait_for(timeout=60_000)
    return float(page.evaluate(_SHARE, [found, HEADER]))


class Visit:
    """A page of the browser that remembers what went wrong on it, and where its requests went."""

    def __init__(self, context: Any, **media: Any) -> None:
        self.page = context.new_page()
        self.page.emulate_media(**media)
        self.page.set_default_navigation_timeout(60_000)
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._request(request.url))
        self.page.on("websocket", lambda socket: self._request(socket.url))

    def settle(self) -> None:
        """Wait until the script has ended, nothing is faded or a placeholder, and the page has stopped growing."""
        self.page.evaluate("() => { delete window.still; }")
        self.page.locator("h1").first.wait_for(timeout=60_000)
        self.page.locator('[data-test-script-state="notRunning"]').first.wait_for(timeout=60_000)
        self.page.wait_for_function(STILL, polling=50, timeout=60_000)

    def _console(self, message: Any) -> None:
        # A picture that a rerun has replaced is gone before a slow browser has asked for it; `check` looks at those
        # that are on the page in the end.
        replaced = "/media/" in message.text + str(message.location) and (
            "404" in message.text or "Image" in message.text
        )
        if message.type == "error" and not replaced:
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def _request(self, url: str) -> None:
        if url.startswith(("http", "ws")):
            self.hosts.add(url.split("/")[2].split(":")[0])

    def check(self) -> None:
        """Fail if anything was written to the console as an error, or a request left this machine."""
        assert self.errors == []
        assert self.page.evaluate(BROKEN_PICTURES) == []
        assert self.hosts <= {"127.0.0.1"}


@pytest.fixture
def visit(context: Any) -> Iterator[Callable[..., Visit]]:
    """(**what the system prefers) -> a page; all are closed at the end."""
    visits: list[Visit] = []

    def make(**media: Any) -> Visit:
        visits.append(Visit(context, **media))
        return visits[-1]

    yield make
    for made in visits:
        made.page.close()


@pytest.fixture
def screenshots(tmp_path: Path) -> Path:
    """The folder for pictures of pages: `$PANDA_SCREENSHOTS` if set."""
    folder = Path(os.environ.get("PANDA_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
