"""Take the README's pictures of the app anew: `python assets/take_screenshots.py http://127.0.0.1:8501`.

The app must be running there, with its recorded runs and nothing else in its list. Needs a Chromium and tests' tools.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

TARGET = Path(__file__).parent / "screenshots"
# Picture -> its address, and what is done before it is taken.
PICTURES: dict[str, tuple[str, str]] = {
    "home": ("", ""),
    "refit": ("instrument?run=break-digits-9&at=95", ".machine .refit"),
    "lessons": ("lessons?lesson=one-class&step=4", ".toy .pull"),
    "adapt": ("adapt", ""),
    "duel": ("duel", ""),
    "examine": ("examine?run=ses-digits-9", ""),
    "segment": ("segment?run=segment-elpv-mono", ""),
}


def take(page: Any, address: str, pressed: str, target: Path) -> None:
    """Open a page, press what is to be pressed, and take its picture once it has come to rest."""
    page.goto(address)
    page.locator("h1").first.wait_for(timeout=60_000)
    page.locator('[data-test-script-state="notRunning"]').first.wait_for(timeout=60_000)
    page.wait_for_timeout(8000)  # charts draw after the script has ended
    if pressed:
        page.locator(pressed).click()
        page.wait_for_timeout(500)
    page.screenshot(path=str(target))


def main() -> None:
    """Take all pictures, or those named after the address."""
    if len(sys.argv) < 2 or set(sys.argv[2:]) - set(PICTURES):
        sys.exit(f"Give the address of the running app, then any of: {', '.join(PICTURES)}.")
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce", color_scheme="light")
        for name in sys.argv[2:] or PICTURES:
            address, pressed = PICTURES[name]
            take(page, f"{sys.argv[1].rstrip('/')}/{address}", pressed, TARGET / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
