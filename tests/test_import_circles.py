"""No file of panda_core or of the pages imports one that imports it, and whatever is imported by name is there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_for_types(node: ast.AST) -> bool:
    """Return whether a node is an `if TYPE_CHECKING:`, under which nothing is imported when the program runs."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports_in(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield all imports that are made when the program runs, those inside functions as well."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif not is_for_types(child):
            yield from imports_in(child)


def imported(tree: ast.AST, modules: set[str]) -> set[str]:
    """Return the modules among `modules` that a file imports; of `from package import module`, the module."""
    found = set()
    for node in imports_in(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            names = [
                whole if (whole := f"{node.module}.{alias.name}") in modules else str(node.module)
                for alias in node.names
            ]
        found |= {name for name in names if name in modules}
    return found


def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Return module -> the modules that it imports. A package's own file stands for the package."""
    paths = [path for folder in ("panda_core", "pages") for path in sorted((root / folder).rglob("*.py"))]
    modules = {module_of(path) for path in paths}
    return {module_of(path): imported(ast.parse(path.read_text("utf-8")), modules) for path in paths}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return groups of modules that reach one another: the strongly connected components of more than one (Tarjan)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in sorted(arrows[name]):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1 or name in arrows[name]:
                found.append(sorted(group))

    for name in arrows:
        if name not in order:
            visit(name)
    return sorted(found)


def test_nothing_imports_what_imports_it() -> None:
    """Two files that can only be read, moved or tested together, and an import that works in one order alone."""
    assert circles(graph()) == []


def test_circles_are_found() -> None:
    """A search that finds none and is always content."""
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}, "f": {"d"}}
    assert circles(arrows) == [["a", "b", "c"], ["e"]]
    tree = ast.parse(
        "from x import y\nif TYPE_CHECKING:\n    import z\ndef f():\n    import w\n    from x import other\n"
    )
    assert imported(tree, {"x", "x.y", "z", "w"}) == {"x", "x.y", "w"}


def names_in(tree: ast.Module) -> set[str]:
    """Return the names that a file has when it was read: what it defines, assigns and imports, in any branch."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def missing_names(trees: dict[str, ast.Module]) -> list[str]:
    """Return "module: from other import name" of each import from one of `trees` of what that does not have."""
    names = {module: names_in(tree) for module, tree in trees.items()}
    return [
        f"{module}: from {node.module} import {alias.name}"
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in trees
        for alias in node.names
        if alias.name not in names[node.module] and f"{node.module}.{alias.name}" not in trees
    ]


def test_what_is_imported_by_name_is_there() -> None:
    """A name that moved or was renamed where only a benchmark, or a function that no test calls, asked for it."""
    paths = [path for folder in ("panda_core", "pages", "assets", "tests") for path in (ROOT / folder).rglob("*.py")]
    assert missing_names({module_of(path): ast.parse(path.read_text("utf-8")) for path in paths}) == []
    trees = {
        "a": ast.parse("from b import f, _f, c, x"),
        "b": ast.parse("from z import x\ndef f(): ..."),
        "b.c": ast.parse(""),
    }
    assert missing_names(trees) == ["a: from b import _f"]
