"""From dropping photos to the first verdict, where people sit: in a real Chromium, against the real server."""

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

from panda_core.datasets import find_dataset
from tests.browser.conftest import FLAGS, WINDOW, Server, Visit

PHOTOS = 50
READING = 10  # seconds before the drop, and again while a person looks at what was understood; not counted
ENABLED = "(name) => document.querySelector(`.st-key-${name} button`)?.disabled === false"
WAYS = {"Patches: where is the defect": ("30 s or less", 3), "Adapt: is the whole image normal": ("measured", 2)}

Figures = tuple[str, str, str, str]


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
                    taken.append(_seconds(server, context, way, learned, paths[-1]))
                    print(way, f"{taken[-1]:.1f} s", flush=True)
                yield (
                    f"own images, {way.split(':')[0]}: from dropping {PHOTOS} photos to the first verdict",
                    f"{statistics.median(taken):.0f} s ({min(taken):.0f} to {max(taken):.0f})",
                    target,
                    f"solar cells of 300 px, {times} runs from the page; reading, learning, and one more photo dropped "
                    f"and judged, without the time a person takes to look; load average {os.getloadavg()[0]:.1f}",
                )
        finally:
            chromium.close()
            server.stop()
            server.stop_runs()


def _seconds(server: Server, context: Any, way: str, learned: list[str], judged: str) -> float:
    """Return how long the page takes, without the time that a person takes."""
    page = Visit(context).page
    page.set_default_timeout(300_000)
    page.goto(f"{server.url}/own_images")
    field = page.locator(".st-key-own_images input[type=file]")
    field.wait_for(state="attached")
    page.wait_for_timeout(1000 * READING)
    began = time.perf_counter()
    field.set_input_files(learned)
    page.wait_for_function(ENABLED, arg="own-read")
    page.get_by_role("button", name="Look at them").click()
    page.get_by_role("heading", name="What was understood").wait_for()
    seconds = time.perf_counter() - began
    page.get_by_text(way).click()
    page.wait_for_timeout(1000 * READING)
    began = time.perf_counter()
    page.get_by_test_id("stMain").get_by_role("button", name="Learn", exact=True).click()
    page.get_by_role("heading", name="When to reject").wait_for()
    page.locator("[class*=st-key-own_others] input[type=file]").set_input_files([judged])
    page.wait_for_function(ENABLED, arg="own-score")
    page.get_by_role("button", name="Score", exact=True).click()
    page.get_by_role("heading", name="What was found").wait_for()
    seconds += time.perf_counter() - began
    page.close()
    return seconds
