"""Rules of the repository that no type checker knows: layers, forbidden calls, pins, licences, the README's map."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "panda_core"
LAYERS = {
    **dict.fromkeys(("errors", "records", "torchvision_operators"), 0),
    **dict.fromkeys(("config", "events", "metrics", "pixel_metrics"), 1),
    **dict.fromkeys(("backbones", "datasets", "scoring"), 2),
    **dict.fromkeys(("features", "segmentation", "few_shot"), 3),
    "methods": 4,
    "runs": 5,
    **dict.fromkeys(("cli", "bench", "export", "figures", "report"), 6),
    **dict.fromkeys(("__init__", "__main__"), 7),
}
STRANGERS = {
    **{part: {"backbones", "datasets", "scoring"} - {part} for part in ("backbones", "datasets", "scoring")},
    "methods": {"datasets", "scoring", "runs"},
}
ALL_FILES = [
    path
    for folder in (CORE, ROOT / "pages", ROOT / "assets", ROOT / "tests", ROOT / "app.py")
    for path in ([folder] if folder.is_file() else sorted(folder.rglob("*.py")))
]
CORE_FILES = [path for path in ALL_FILES if path.is_relative_to(CORE)]
APP_FILES = [path for path in ALL_FILES if path.is_relative_to(ROOT / "pages") or path == ROOT / "app.py"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


core = pytest.mark.parametrize("path", CORE_FILES, ids=name_of)
every = pytest.mark.parametrize("path", ALL_FILES, ids=name_of)


def part_of(path: Path) -> str:
    """Return the part of panda_core, file or package, in which a file lies."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    """Return the parts of panda_core that a file imports anywhere in it, also inside functions."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name != "panda_core"]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it goes"
            names = (
                [f"panda_core.{alias.name}" for alias in node.names] if node.module == "panda_core" else [node.module]
            )
        parts |= {name.split(".")[1] for name in names if name and name.startswith("panda_core.")}
    return parts


@core
def test_imports_go_down(path: Path) -> None:
    """A page's helper in the core, or a method that knows the data: arrows that point up or across."""
    part = part_of(path)
    assert part in LAYERS, "a new part of panda_core needs its layer"
    if part == "__init__":  # re-exports by name what lies in any layer
        return
    for other in imported_parts(path) - {part}:
        assert LAYERS[other] <= LAYERS[part], f"{part} must not import {other}, a higher layer"
        assert other not in STRANGERS.get(part, set()), f"{part} and {other} must not know one another"


def test_the_import_check_sees_what_it_should() -> None:
    """A check of imports that finds none and is always content."""
    assert {"backbones", "config", "datasets", "errors", "methods", "scoring"} <= imported_parts(
        CORE / "runs" / "plan.py"
    )
    assert "runs" in imported_parts(CORE / "cli" / "running.py")


@core
def test_the_core_knows_no_user_interface(path: Path) -> None:
    """A headless package that needs the web app's library."""
    assert "streamlit" not in path.read_text().lower()


@core
def test_the_core_neither_prints_nor_asserts(path: Path) -> None:
    """A library that writes to the user's terminal, or checks that vanish under `python -O`."""
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: assert"
        if part_of(path) != "cli" and isinstance(node, ast.Call):
            called = node.func.id if isinstance(node.func, ast.Name) else ""
            assert called not in ("print", "exit", "quit"), f"line {node.lineno}: {called}"


FORBIDDEN = {
    r"pickle\.loads?\(": "runs code of whoever made the file",
    r"joblib\.load": "runs code of whoever made the file",
    r"allow_pickle=True": "runs code of whoever made the file",
    r"torch\.load\((?![^)]*weights_only=True)": "runs code of whoever made the file",
    r"unsafe_allow_html": "shows a stranger's file name as HTML",
    r"use_container_width": "is gone from current Streamlit",
    r"extractall": "writes outside of its folder",
    r"LOAD_TRUNCATED_IMAGES": "takes half an image for a whole one, everywhere",
    r"shell=True": "runs a file name as a command",
    r"os\.system": "runs a file name as a command",
    r"(?<![\w.])eval\(": "runs text",
    r"(?<![\w.])exec\(": "runs text",
}


@pytest.mark.parametrize("path", CORE_FILES + APP_FILES, ids=name_of)
def test_no_forbidden_call(path: Path) -> None:
    """A call that must not come back, whatever it is good for."""
    text = path.read_text()
    for pattern, reason in FORBIDDEN.items():
        assert not re.search(pattern, text), f"`{pattern}` {reason}"


@every
def test_files_hold_one_idea_and_say_which(path: Path) -> None:
    """Drawers: files named after nothing, files that nobody reads to the end, files without a first line."""
    assert path.stem not in ("utils", "common", "helpers", "base", "manager", "misc", "types", "inspect")
    text = path.read_text()
    assert len(text.splitlines()) <= 350
    assert not text.strip() or ast.get_docstring(ast.parse(text))


@every
def test_no_path_of_one_machine(path: Path) -> None:
    """A path that exists on the machine of whoever wrote the line, and nowhere else."""
    assert not re.search(r"[\"'`](/home/(?!me/)|/root/|/Users/|/work/)", path.read_text())


def requirement_lines() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("line", requirement_lines())
def test_every_requirement_is_pinned_with_a_reason(line: str) -> None:
    """A result that changes with the day of the installation; a dependency that nobody dares to remove."""
    assert re.fullmatch(r"[A-Za-z0-9-]+==[0-9][\w.]*\s+# \S.+", line)


def test_every_import_is_required_directly() -> None:
    """A package that is only here because another one needs it today."""
    given = {line.split("==")[0].lower() for line in requirement_lines()}
    known = {
        "sklearn": "scikit-learn",
        "cv2": "opencv-python-headless",
        "faiss": "faiss-cpu",
        "PIL": "pillow",
        "yaml": "pyyaml",
    }
    own = {"panda_core", "pages", "tests"}
    for path in CORE_FILES + APP_FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in {module.split(".")[0] for module in modules} - own - set(sys.stdlib_module_names):
                assert known.get(module, module).lower() in given, f"{name_of(path)} imports {module}"


def test_torch_and_torchvision_match() -> None:
    """Two pins that cannot be installed together."""
    pins = dict(line.split("#")[0].strip().split("==") for line in requirement_lines())
    wanted = [text for text in requires("torchvision") or [] if re.match(r"torch\W", text)]
    assert [re.sub(r"[ ()]", "", text) for text in wanted] == [f"torch=={pins['torch']}"]


def test_notice_names_every_bundled_weight_and_data_set() -> None:
    """Somebody's work handed on without its name and licence."""
    notice = (ROOT / "NOTICE").read_text()
    carrying = [line for line in requirement_lines() if re.search(r"weights|images \(", line)]
    assert len(carrying) == 4
    for line in carrying:
        package = line.split("==")[0]
        licence = re.search(r"\((.+)\)", line)
        assert licence is not None
        (named,) = [text for text in notice.splitlines() if text.strip().startswith(package)]
        assert licence[1] in named
    for word in ("digits", "CIFAR-10", "ImageNet"):
        assert word in notice


def test_runs_and_data_are_not_committed() -> None:
    """Gigabytes of runs, or a stranger's images, in the history for ever."""
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    assert {"runs", ".venv", "__pycache__"} <= ignored


def tree() -> dict[str, str]:
    """Return path -> half-line of the README's map: a fenced block of `path   words` under "Where things are"."""
    match = re.search(r"^## Where things are\n+```\w*\n(.+?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert match is not None, "README.md has no fenced block under `## Where things are`"
    lines = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in match[1].splitlines() if line.strip()]
    assert all(len(line) == 2 for line in lines), "every line is a path, two spaces or more, and words"
    assert len({path for path, _ in lines}) == len(lines), "a path is listed once"
    return {path: words for path, words in lines}


def test_the_map_in_the_readme_lists_what_is_there() -> None:
    """A file that the map names and that is gone, or renamed."""
    absent = [path for path in tree() if not (ROOT / path).exists()]
    assert not absent
    assert all((ROOT / path).is_dir() == path.endswith("/") for path in tree())


def test_everything_there_is_in_the_map_of_the_readme() -> None:
    """A file that a stranger looks for in vain. A folder (`name/`) stands for its files, but for the three big ones."""
    listed = set(tree())
    big = {"panda_core/", "pages/", "tests/"}
    folders = tuple(path for path in listed if path.endswith("/") and path not in big)
    files = [name_of(path) for path in CORE_FILES + APP_FILES if path.read_text().strip()]
    unlisted = [
        name
        for name in files
        if name not in listed and not name.startswith(folders) and not name.endswith("__init__.py")
    ]
    assert not unlisted
