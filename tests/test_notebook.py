"""The notebook: its cells run in their order, and give what stands below them."""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image

FILE = Path(__file__).parents[1] / "assets" / "notebook.ipynb"
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def result_of(source: str, names: dict[str, Any]) -> tuple[str, Any]:
    """Run a cell; return what it prints, and the value of its last line where that is an expression."""
    tree, printed, value = ast.parse(source), io.StringIO(), None
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, FILE.name, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), FILE.name, "eval"), names)
    return printed.getvalue(), value


def test_the_notebook_gives_what_stands_below_its_cells() -> None:
    """A tutorial that no longer runs, or whose figures are those of an older version."""
    cells = [cell for cell in json.loads(FILE.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells:
        printed, value = result_of("".join(cell["source"]), names)
        outputs = cell["outputs"]
        recorded = "".join(line for output in outputs for line in output.get("text", []))
        words = (NUMBER.sub("", text).replace("#", "").split() for text in (printed, recorded))
        assert next(words) == next(words)
        numbers = [[float(number) for number in NUMBER.findall(text)] for text in (printed, recorded)]
        np.testing.assert_allclose(*numbers, rtol=0.02, atol=0.03)  # processors round differently
        shown = [output["data"] for output in outputs if "data" in output]
        if isinstance(value, Image.Image):
            picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown[0]["image/png"]))).convert("RGB"))
            assert np.abs(np.asarray(value).astype(int) - picture).mean() < 3
        elif isinstance(value, go.Figure):
            assert len(value.data) == len(shown[0]["application/vnd.plotly.v1+json"]["data"])


def test_the_notebook_is_small() -> None:
    """Megabytes of pictures in the history for ever; a chart that brings its library with it."""
    assert FILE.stat().st_size < 300_000
