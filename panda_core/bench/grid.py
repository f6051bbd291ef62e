"""A grid: rows of settings, crossed with data sets, normal classes and seeds, as a TOML or YAML file says.

    title = "..."   about = "..."   extends = "table1"
    [settings]      # of every row: fields of `RunConfig`, and `datasets`, `classes`, `seeds`, `cuts`, `eval_epochs`
    [[rows]]        # `name`, `published` (a key of published.toml), `metric`, and settings of this row alone

`classes` is "all", a list of names or indices, a number (so many from the first), or a table data set -> one of these.
`cuts` is a table: beginning of a network's name -> where it is cut. `eval_epochs` is how many epochs lie between two
measurements, in place of `eval_every`; the steps become the nearest whole number of such intervals.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from panda_core.backbones import BACKBONES, find_backbone
from panda_core.config import RunConfig
from panda_core.errors import UsageError, unknown_name
from panda_core.methods.table import RECIPES

BUILT_IN = Path(__file__).parent / "grids"
METRIC = "auroc"
_OWN = ("datasets", "classes", "seeds", "cuts", "eval_epochs")
# Where a run is computed and kept is not the grid's affair; which class and seed it has follows from the crossing.
_NOT_SET = ("dataset", "normal_class", "seed", "data_root", "runs_dir", "name", "device")
_FIELDS = tuple(field.name for field in dataclasses.fields(RunConfig) if field.name not in _NOT_SET)
_Classes = str | int | tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a grid: a method, on one or more data sets. settings: fields of `RunConfig`.

    metric: which of a run's final metrics is averaged. published: key of the figures it stands beside, or "".
    cuts: beginning of a network's name -> its cut. eval_epochs: epochs between two measurements, or None.
    """

    name: str
    published: str
    metric: str
    datasets: tuple[str, ...]
    classes: Mapping[str, _Classes]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    cuts: Mapping[str, str]
    eval_epochs: int | None

    def classes_of(self, dataset: str) -> _Classes:
        """Return which classes of a data set are normal in turn."""
        return self.classes.get(dataset, self.classes.get("", "all"))


@dataclasses.dataclass(frozen=True)
class Grid:
    """A grid as its file describes it; nothing has been looked up yet."""

    name: str
    title: str
    about: str
    rows: tuple[Row, ...]


def built_in_grids() -> dict[str, Path]:
    """Return name -> file of the grids that come with the program."""
    return {path.stem: path for path in sorted(BUILT_IN.glob("*.toml"))}


def load_grid(name: str) -> Grid:
    """Return the built-in grid called `name`, or the one in a TOML or YAML file at this path.

    `UsageError` for an unknown name, a file that cannot be read, and a key or a value that a grid cannot have. Whether
    recipes, options and data sets exist is found out when the grid is run: see `panda_core.bench.cells`.
    """
    path = _file_of(name)
    record = _read(path, ())
    _only(record, ("title", "about", "settings", "rows"), f"`{path}`", path)
    common, rows = record.get("settings", {}), record.get("rows")
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"`{path}` must have rows; it has none. Write `[[rows]]`, `name = ...` and their settings.")
    made = tuple(_row(common, row, place, path) for place, row in enumerate(rows, 1))
    names = [(row.name, row.metric) for row in made]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise UsageError(
            f"Two rows of `{path}` are called `{twice[0]}` and show the same metric. Give each a `name` of its own."
        )
    stem = _name(path.stem)
    return Grid(stem, str(record.get("title", stem)), " ".join(str(record.get("about", "")).split()), made)


def on_backbone(grid: Grid, backbone: str) -> Grid:
    """Return the grid with another network in every row that uses a pretrained one; name and title say which.

    Rows of recipes that work with their own network alone (the one-class SVM on pixels, DeepSVDD), and rows whose
    network starts from nothing (MHRot), keep theirs.
    """
    find_backbone(backbone)  # an unknown one is refused once, not in every cell
    rows = tuple(
        row if _keeps_network(row) else dataclasses.replace(row, settings={**row.settings, "backbone": backbone})
        for row in grid.rows
    )
    return dataclasses.replace(
        grid, name=_name(f"{grid.name}-{backbone}"), title=f"{grid.title}, with {backbone}", rows=rows
    )


def _keeps_network(row: Row) -> bool:
    recipe = RECIPES.get(str(row.settings.get("recipe", RunConfig().recipe)))
    if recipe is None:  # patches of a pretrained network; or an unknown one, which its cells say
        return False
    own = BACKBONES.get(str(row.settings.get("backbone", recipe.backbone)))
    return bool(recipe.only_backbones) or (own is not None and not own.pretrained)


def _name(text: str) -> str:
    """Return a name that a folder can have."""
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")[:80] or "grid"


def _file_of(name: str) -> Path:
    known = built_in_grids()
    if name in known:
        return known[name]
    path = Path(name)
    if path.suffix.lower() not in (".toml", ".yaml", ".yml"):
        raise unknown_name("grid", name, [*known, "FILE.toml", "FILE.yaml"], "bench")
    return path


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """Return the content of a grid file, laid over that of the grid which it extends."""
    if path in above:
        raise UsageError(f"`{path}` extends itself. Remove one `extends`.")
    try:
        text = path.read_text(encoding="utf-8")
        record = tomllib.loads(text) if path.suffix.lower() == ".toml" else _yaml(text)
    except FileNotFoundError:
        raise UsageError(f"There is no grid file `{path}`. Check the path, or name a built-in grid.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"`{path}` cannot be read as a grid: {' '.join(str(error).split())}. Correct it.") from error
    if not isinstance(record, dict):
        raise UsageError(f"`{path}` must hold `[settings]` and `[[rows]]`; got {type(record).__name__}. Correct it.")
    settings = record.get("settings", {})
    if not isinstance(settings, dict):
        raise UsageError(f"`settings` of `{path}` must be a table; got `{settings}`. Write `[settings]`.")
    base_name = record.pop("extends", None)
    if base_name is None:
        return record
    known = built_in_grids()
    base_path = known.get(str(base_name)) or path.parent / str(base_name)
    base = _read(base_path, (*above, path))
    merged = {**base, **record}
    merged["settings"] = _merged(base.get("settings", {}), settings)
    return merged


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings laid over others; `set` option by option."""
    merged = {**below, **above}
    if isinstance(below.get("set"), Mapping) and isinstance(above.get("set"), Mapping):
        merged["set"] = {**below["set"], **above["set"]}
    return merged


def _row(common: Mapping[str, Any], own: Any, place: int, path: Path) -> Row:
    if not isinstance(own, dict):
        raise UsageError(f"Row {place} of `{path}` must be a table; got `{own}`. Write `[[rows]]`.")
    name = str(own.get("name") or f"row {place}")
    where = f"row `{name}` of `{path}`"
    given = {key: value for key, value in own.items() if key not in ("name", "published", "metric")}
    settings = _merged(common, given)
    _only(settings, (*_OWN, *_FIELDS), where, path)
    datasets, seeds = settings.pop("datasets", ["digits"]), settings.pop("seeds", [0])
    classes, cuts = settings.pop("classes", "all"), settings.pop("cuts", {})
    eval_epochs = settings.pop("eval_epochs", None)
    if not _is_list(datasets, str) or not datasets:
        raise UsageError(f'`datasets` of {where} must be a list of data sets; got `{datasets}`. Write `["cifar10"]`.')
    if not _is_list(seeds, int) or not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(
            f"`seeds` of {where} must be a list of different whole numbers; got `{seeds}`. Write `[0, 1]`."
        )
    if not isinstance(cuts, dict) or not all(isinstance(cut, str) for cut in cuts.values()):
        raise UsageError(f'`cuts` of {where} must be a table; got `{cuts}`. Write `{{ "timm:resnet" = "layer2" }}`.')
    if eval_epochs is not None and (not isinstance(eval_epochs, int) or eval_epochs < 1 or "eval_every" in settings):
        raise UsageError(
            f"`eval_epochs` of {where} must be a whole number from 1, without `eval_every`; got `{eval_epochs}`."
        )
    table = classes if isinstance(classes, dict) else {"": classes}
    return Row(
        name=name,
        published=str(own.get("published", "")),
        metric=str(own.get("metric", METRIC)),
        datasets=tuple(datasets),
        classes={str(dataset): _classes(value, where) for dataset, value in table.items()},
        seeds=tuple(seeds),
        settings=settings,
        cuts=cuts,
        eval_epochs=eval_epochs,
    )


def _classes(value: Any, where: str) -> _Classes:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value == "all" or (whole and value > 0):
        return value
    if isinstance(value, list) and value and all(isinstance(one, (str, int)) for one in value):
        return tuple(str(one) for one in value)
    raise UsageError(f'`classes` of {where} must be "all", a number from 1 or a list of classes; got `{value}`.')


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) and not isinstance(one, bool) for one in value)


def _only(record: Mapping[str, Any], known: tuple[str, ...], where: str, path: Path) -> None:
    for key in record:
        if key not in known:
            error = unknown_name(f"key in {where}", str(key), known, str(key))
            raise UsageError(str(error).split(" Did you mean")[0].split(" Set `")[0] + f" Correct `{path}`.")
