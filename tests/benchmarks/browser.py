"""How fast the app is where people sit: in a real Chromium, against the real server, on this machine.

Every page has been visited once before, as after the first minute of use. Times are read from the browser's own
clock, which counts from the start of the navigation.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from panda_core import Evaluated, RunConfig, RunStarted, run
from panda_core.datasets import find_dataset
from panda_core.runs.folder import RunFolder
from tests.browser.conftest import FLAGS, MEASURED, WINDOW, Server, Visit

VISITS = 3  # of each page
STARTS = 3
CHOOSING = 10  # seconds that a person takes to look at the form: the process that will compute gets ready meanwhile
SNAPSHOTS = 30
RUN = "run=break-digits-9"
PAGES = {
    "Watch": "",
    "Race": "duel",
    "Strength": "elastic",
    "Lessons": "lessons",
    "Glossary": "glossary",
    "Links": "links",
    "Inspect": "own_images",
    "New classes": "new_classes",
    "Segment": "segment",
    "Lab": "adapt",
    "Runs": f"runs?{RUN}",
    "Film": f"instrument?{RUN}",
    "Images": "examine?run=ses-digits-9",
    "Settings": f"settings?{RUN}",
    "Paper tables": "paper_tables",
    "Data": "data",
}
WATCHED = "dataset=digits&normal_class=3&steps=40&eval_every=4"
# The time at which a page can be used: its heading is there, its script has ended, and a control can be operated.
USABLE = """() => {
    const main = document.querySelector('[data-testid="stMain"]');
    const there = main && main.querySelector('h1');
    const runs = !document.querySelector('[data-test-script-state="notRunning"]');
    const moving = document.querySelector('[data-stale="true"], [data-testid="stSkeleton"]');
    const control = main && main.querySelector('button:not(:disabled), input:not(:disabled), a[href]');
    return there && !runs && !moving && control ? performance.now() : 0;
}"""
# The time at which a drawing differs from what it was.
MOVED = """async (canvas) => {
    const before = canvas.toDataURL();
    while (canvas.toDataURL() === before) await new Promise((done) => requestAnimationFrame(done));
    return performance.now();
}"""
# Milliseconds from a move of the scrubber until the browser has painted what follows, for each measured step.
MOVES = """async (machine) => {
    const scrub = machine.querySelector('.scrub'), times = [];
    for (let place = 0; place <= Number(scrub.max); place++) {
        const began = performance.now();
        scrub.value = place;
        scrub.dispatchEvent(new Event('input', { bubbles: true }));
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        times.push(performance.now() - began);
    }
    return times;
}"""
# Notes when Start was pressed, and when each measurement reached the film.
WATCH = f"""() => {{
    window.arrivals = [];
    document.addEventListener('click', () => {{ window.pressed = window.pressed || Date.now(); }}, true);
    setInterval(() => {{
        const points = ({MEASURED})();
        while (window.arrivals.length < points) window.arrivals.push(Date.now());
    }}, 20);
}}"""

Figures = tuple[str, str, str, str]


def browser() -> Iterator[Figures]:
    """Yield (what, measured, target, how)."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder))
        server.start()
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            seen = Looks(server, chromium.new_context(viewport=WINDOW))
            for address in PAGES.values():  # the first visit, which is not measured
                seen.usable(address)
            yield seen.home()
            yield from seen.pages()
            yield seen.scrub(thirty_snapshots(server))
            yield from seen.live()
            yield seen.manners()
        finally:
            chromium.close()
            server.stop()
            server.stop_runs()


class Looks:
    """Visits of one person, each in a tab of its own."""

    def __init__(self, server: Server, context: Any) -> None:
        self.server, self.context = server, context
        self.errors: list[str] = []
        self.hosts: set[str] = set()

    def visit(self, address: str) -> Visit:
        """Return a page that has just been asked for."""
        seen = Visit(self.context)
        seen.page.goto(f"{self.server.url}/{address}", wait_until="commit")
        return seen

    def leave(self, seen: Visit) -> None:
        self.errors += seen.errors
        self.hosts |= seen.hosts
        seen.page.close()

    def usable(self, address: str) -> float:
        """Return the seconds until a page can be used."""
        seen = self.visit(address)
        found = seen.page.wait_for_function(USABLE, timeout=60_000).json_value() / 1000
        self.leave(seen)
        return float(found)

    def home(self) -> Figures:
        times = []
        for _ in range(VISITS):
            seen = self.visit("")
            machine = seen.page.locator(".machine")
            machine.locator(".step").filter(has_text="step").wait_for(timeout=60_000)
            times.append(machine.locator("canvas.cloud").evaluate(MOVED) / 1000)
            self.leave(seen)
        how = f"Home, until its film moves; {VISITS} visits; {load()}"
        return "open the app to something moving", middle_and_ends(times), "3 s or less", how

    def pages(self) -> Iterator[Figures]:
        times = {name: [self.usable(address) for _ in range(VISITS)] for name, address in PAGES.items()}
        medians = {name: statistics.median(values) for name, values in times.items()}
        slowest = max(medians, key=lambda name: medians[name])
        each = ", ".join(f"{name} {value:.1f}" for name, value in medians.items())
        yield (
            "every page, from navigation to usable: slowest page (median page)",
            f"{medians[slowest]:.1f} s, {slowest} ({statistics.median(medians.values()):.1f} s)",
            "3 s or less",
            f"heading there, script ended, a control enabled; median of {VISITS} visits each, slowest of all "
            f"{max(max(values) for values in times.values()):.1f} s: {each}; {load()}",
        )

    def scrub(self, run_id: str) -> Figures:
        seen = self.visit(f"instrument?run={run_id}&at=0")
        machine = seen.page.locator(".machine")
        machine.locator(".step").filter(has_text="step").wait_for(timeout=60_000)
        seen.settle()
        times = machine.evaluate(MOVES)
        self.leave(seen)
        assert len(times) == SNAPSHOTS
        return (
            f"a move of the scrubber over {SNAPSHOTS} snapshots, until painted: worst (median)",
            f"{max(times):.0f} ms ({statistics.median(times):.0f} ms)",
            "150 ms or less",
            f"film of a run on digits, all panels; {load()}",
        )

    def live(self) -> Iterator[Figures]:
        """Start real runs from the page and follow them to their ends."""
        firsts, delays = [], []
        for number in range(STARTS + 1):
            seen = self.visit(f"adapt?{WATCHED}")
            seen.page.wait_for_function(USABLE, timeout=60_000)
            time.sleep(CHOOSING)
            seen.page.evaluate(WATCH)
            seen.page.get_by_role("button", name="Start", exact=True).click(timeout=60_000)
            seen.page.get_by_text("Final AUROC").wait_for(timeout=300_000)
            run_id = seen.page.url.split("run=")[1].split("&")[0]
            folder = RunFolder.open(run_id, str(self.server.folder / "runs"))
            times = [event.time for event, _ in folder.events() if isinstance(event, Evaluated)]
            seen.page.wait_for_function(f"() => window.arrivals.length === {len(times)}", timeout=60_000)
            pressed, arrivals = seen.page.evaluate("() => [window.pressed, window.arrivals]")
            self.leave(seen)
            if number:  # the first fills the caches
                firsts.append((arrivals[0] - pressed) / 1000)
                delays += [at / 1000 - when for at, when in zip(arrivals, times, strict=True)]
        yield (
            "live film: event of a measurement to the measurement in the film, worst (median)",
            f"{max(delays):.1f} s ({statistics.median(delays):.1f} s)",
            "1.5 s or less",
            f"{len(delays)} points of {STARTS} runs started from the page, while they compute; {load()}",
        )
        yield (
            "click on Start to the first measurement in the film (digits, caches filled, process ready)",
            middle_and_ends(firsts),
            "5 s or less",
            f"{STARTS} runs, {CHOOSING} s after the page was opened; {load()}",
        )

    def manners(self) -> Figures:
        elsewhere = self.hosts - {"127.0.0.1"}
        return (
            "console errors, requests to other machines",
            f"{len(self.errors)}, {len(elsewhere)}" + "".join(f"; {what}" for what in (*self.errors, *elsewhere)),
            "0, 0",
            "in all visits of this section",
        )


def thirty_snapshots(server: Server) -> str:
    """Return the id of a run that was measured at thirty steps."""
    config = RunConfig(
        dataset="digits",
        normal_class="3",
        image_size=32,
        train_limit=200,
        test_limit=300,
        steps=SNAPSHOTS - 1,
        eval_every=1,
        runs_dir=str(server.folder / "runs"),
    )
    (run_id,) = [event.run_id for event in run(config) if isinstance(event, RunStarted)]
    return run_id


def middle_and_ends(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"


def load() -> str:
    return f"load average {os.getloadavg()[0]:.1f}"


PHOTOS = 50
READING = 10  # seconds before the drop, and again while a person looks at what was understood; not counted
WAYS = {"Patches": ("15 s or less", 3), "Whole photo": ("measured", 2)}


def photos() -> Iterator[Figures]:
    """Yield (what, measured, target, how) of both ways to learn."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    cells = find_dataset("elpv").open(Path("nowhere"), "mono", 0)
    normal = np.flatnonzero(cells.train_labels == cells.normal_label)[: PHOTOS * 2]
    paths = [str(cells.train.paths[row]) for row in normal]  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder))
        server.start()
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            context = chromium.new_context(viewport=WINDOW)
            for way, (target, times) in WAYS.items():
                taken = []
                for number in range(times):
                    learned = paths[number : number + PHOTOS]  # others each time: nothing is learned twice
                    taken.append(_seconds(server, context, way, learned))
                    print(way, f"{taken[-1]:.1f} s", flush=True)
                yield (
                    f"own photos, {way.lower()}: from dropping {PHOTOS} of them to the first verdict on them",
                    f"{statistics.median(taken):.0f} s ({min(taken):.0f} to {max(taken):.0f})",
                    target,
                    f"solar cells of 300 px, {times} runs from the page; reading, learning, and verdicts on those held "
                    f"back, without the time a person takes to look; load average {os.getloadavg()[0]:.1f}",
                )
        finally:
            chromium.close()
            server.stop()
            server.stop_runs()


def _seconds(server: Server, context: Any, way: str, learned: list[str]) -> float:
    """Return how long the page takes, without the time that a person takes."""
    page = Visit(context).page
    page.set_default_timeout(300_000)
    page.goto(f"{server.url}/own_images")
    field = page.locator(".st-key-own_images input[type=file]")
    field.wait_for(state="attached")
    page.wait_for_timeout(1000 * READING)
    began = time.perf_counter()
    field.set_input_files(learned)
    page.locator(".tiles button").nth(PHOTOS - 1).wait_for()
    seconds = time.perf_counter() - began
    page.get_by_test_id("stMain").get_by_text(way, exact=True).click()
    page.wait_for_timeout(1000 * READING)
    began = time.perf_counter()
    page.get_by_role("button", name="Learn what is normal").click()
    page.locator(".tiles .badge").first.wait_for()
    seconds += time.perf_counter() - began
    page.close()
    return seconds
