"""One HTML file with everything in it: style, charts and their library, images. It asks no network for anything.

All text is escaped here, so that a file name or a run's name is shown as it is, whatever it holds.
"""

from __future__ import annotations

import base64
import functools
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image
from plotly.offline import get_plotlyjs

_STYLE = """
:root { color-scheme: light dark; --line: #8a97a355; --faint: #687682; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1180px; padding: 1.5rem; }
@media (prefers-color-scheme: dark) { body { background: #12161b; color: #e6eaee; } :root { --faint: #9aa7b3; } }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2rem; }
p, li { max-width: 75ch; } .faint { color: var(--faint); font-size: 0.87rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 0.9rem; margin: 0.5rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.7rem; text-align: left; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { background: #8a97a322; padding: 0.7rem; border-radius: 4px; user-select: all;
  white-space: pre-wrap; overflow-wrap: anywhere; }
td .source { white-space: normal; } td .faint { display: inline-block; min-width: 8rem; overflow-wrap: anywhere; }
.images { display: flex; flex-wrap: wrap; gap: 0.6rem; }
figure { margin: 0; width: 128px; font-size: 0.78rem; overflow-wrap: anywhere; }
figure img { width: 128px; image-rendering: auto; border: 3px solid; box-sizing: border-box; }
.large figure, .large figure img { width: 320px; max-width: 100%; }
.normal img { border-color: #1c83c2; } .anomalous img { border-color: #d55e00; border-style: dashed; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 1rem; }
.charts > div { min-width: 0; }
.numbers { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.numbers div { font-size: 0.87rem; color: var(--faint); }
.numbers b { display: block; font-size: 1.5rem; color: CanvasText; }
"""
# Nothing may be fetched from anywhere, even if a text smuggled in something that tries.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; font-src data:"
# Charts take the page's colour for their text, light or dark.
_RECOLOUR = """
const dark = matchMedia('(prefers-color-scheme: dark)').matches;
for (const chart of document.querySelectorAll('.plotly-graph-div'))
  Plotly.relayout(chart, {autosize: true, 'font.color': dark ? '#e6eaee' : '#1f2933'});
"""


class Html(str):
    """Text that is HTML already; any other text is escaped before it comes onto the page."""


def text(value: object) -> Html:
    """Return `value` as text on a page."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def element(tag: str, *content: object, **attributes: str) -> Html:
    """Return an element; content and attributes are escaped. `class_` gives the class."""
    shown = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items())
    return Html(f"<{tag}{shown}>{''.join(text(part) for part in content)}</{tag}>")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[int] = ()) -> Html:
    """Return a table that scrolls by itself. numbers: columns, counted from 0, that are set right-aligned."""

    def cells(tag: str, row: Sequence[object]) -> list[Html]:
        return [element(tag, cell, class_="n" if place in numbers else "") for place, cell in enumerate(row)]

    head = element("tr", *cells("th", columns))
    body = [element("tr", *cells("td", row)) for row in rows]
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="wide")


def chart(figure: go.Figure, title: str, about: str) -> Html:
    """Return a chart with its heading. about: what it shows, for those who cannot see it."""
    drawn = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        default_width="100%",
        config={"displayModeBar": False, "responsive": True},
    )
    return element("div", element("h3", title), element("div", Html(drawn), role="img", aria_label=about))


def picture(image: np.ndarray, caption: object, *, about: str, kind: str = "", side: int = 128) -> Html:
    """Return an image (H, W, 3) as a thumbnail; it is stored in the page. kind: "normal" or "anomalous"."""
    small = Image.fromarray(image)
    scale = side / max(small.size)
    size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    file = io.BytesIO()
    small.convert("RGB").resize(size, smooth).save(file, "PNG", optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    shown = Html(f'<img alt="{html.escape(about)}" src="data:image/png;base64,{data}">')
    return element("figure", shown, element("figcaption", caption), class_=kind)


@functools.cache
def _library() -> str:
    return get_plotlyjs()


def document(title: str, *parts: object) -> str:
    """Return a whole page, with the library of charts where it has any."""
    body = "".join(text(part) for part in parts)
    library, recolour = (_library(), _RECOLOUR) if "plotly-graph-div" in body else ("", "")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style><script>{library}</script></head>"
        f"<body>{body}<script>{recolour}</script></body></html>\n"
    )
