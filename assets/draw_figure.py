"""Draw the README's figure: `python assets/draw_figure.py`. It needs Debian's Chromium and the tools of tests.

Figure 1 of the paper from a recorded run, ships of CIFAR-10: mean squared distances to the center, raw and divided by
that of the training images, and the AUROC below them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from panda_core import load_run  # noqa: E402
from panda_core.config import default_cache_dir  # noqa: E402
from panda_core.figures import auroc_figure, curve_of, distances_figure, ratios_figure  # noqa: E402
from panda_core.runs.recorded import unpacked  # noqa: E402

RECORDED = "break-cifar10-ship"
TITLES = ("Distance to the center", "Divided by that of the training images", "AUROC")


def main() -> None:
    """Write assets/screenshots/collapse.png."""
    curve = curve_of(load_run(unpacked(ROOT / "assets" / "recorded", default_cache_dir()) / RECORDED).evaluated)
    charts = []
    for title, draw in zip(TITLES, (distances_figure, ratios_figure, auroc_figure), strict=True):
        figure = draw(curve).update_layout(width=400, height=310, paper_bgcolor="white", plot_bgcolor="white")
        figure.update_layout(title={"text": title, "font": {"size": 15}, "y": 0.98}, margin={"t": 40})
        charts.append(figure.to_html(full_html=False, include_plotlyjs=not charts, config={"displayModeBar": False}))
    page = f'<body style="margin:0;background:white;display:flex;width:1200px">{"".join(charts)}</body>'
    target = ROOT / "assets" / "screenshots" / "collapse.png"
    target.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file, sync_playwright() as browsers:
        file.write(page)
        file.flush()
        browser = browsers.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        shown = browser.new_page(viewport={"width": 1200, "height": 310}, device_scale_factor=1.5)
        shown.goto(f"file://{file.name}")
        shown.wait_for_timeout(1500)
        shown.screenshot(path=target)
        browser.close()
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
