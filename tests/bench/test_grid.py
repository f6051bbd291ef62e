"""Grid files: what they may say, what they are refused for, and the grids that come with the program."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from panda_core.bench.cells import cell_id, plan_grid
from panda_core.bench.counts import image_counts
from panda_core.bench.folder import GridFolder
from panda_core.bench.grid import built_in_grids, load_grid, on_backbone
from panda_core.bench.published import check_key, published_class, published_figures, published_for
from panda_core.bench.running import run_grid
from panda_core.config import RunConfig
from panda_core.datasets import DATASETS
from panda_core.errors import UsageError
from panda_core.methods.table import RECIPES
from panda_core.runs.kinds import resolve
from panda_core.segmentation.table import SEGMENTERS

NAMED = ("table1", "table2", "table4", "table5", "scoring", "mhrot", "quick", "whitening", "ewc", "deep_svdd")
Write = Callable[..., Path]


@pytest.fixture
def all_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every data set look present: planning a grid opens none."""
    for key, row in list(DATASETS.items()):
        monkeypatch.setitem(DATASETS, key, dataclasses.replace(row, missing=lambda root: None))


def test_the_grids_of_the_paper_are_there() -> None:
    """A table of the paper that nobody can run any more."""
    assert set(NAMED) == set(built_in_grids())


@pytest.mark.parametrize("name", NAMED)
def test_every_cell_of_a_built_in_grid_can_be_run(name: str, all_data: None, tmp_path: Path) -> None:
    """A recipe, scorer, backbone, option or data set that a built-in grid names and that does not exist."""
    plan = plan_grid(load_grid(name), runs_dir=tmp_path, data_root=str(tmp_path))
    # Labelled and other images beside the normal ones are looked for last: where they alone are missing, all else fits.
    problems = [cell.problem for cell in plan.cells.values() if cell.problem and not cell.missing]
    problems += [line.problem for line in plan.lines if line.problem]
    assert plan.cells and not problems, problems[0]


@pytest.mark.parametrize("name", NAMED)
def test_every_row_names_published_figures_of_its_data(name: str) -> None:
    """A row that stands beside nothing because of a slip in its key."""
    rows = load_grid(name).rows
    assert any(row.published for row in rows)
    for row in rows:
        check_key(row.published)
        whole = [published_for(row.published, row.metric, dataset, [], whole=True) for dataset in row.datasets]
        assert any(whole) == bool(row.published), row.name


def test_quick_has_every_recipe() -> None:
    """A recipe that is added and never tried by the grid that tries everything."""
    assert {str(row.settings["recipe"]) for row in load_grid("quick").rows} == {*RECIPES, *SEGMENTERS}


def test_a_yaml_grid_is_the_same_as_a_toml_grid(write_grid: Write, tmp_path: Path) -> None:
    """One of the two formats read in another way."""
    toml = load_grid(str(write_grid([{"name": "a", "set": {"k": 3}, "seeds": [0, 1]}])))
    yaml = tmp_path / "small.yaml"
    yaml.write_text(
        "settings: {datasets: [digits], classes: ['3', '8'], image_size: 32, train_limit: 24, test_limit: 40,\n"
        "  batch_size: 8, recipe: panda-early, steps: 4}\nrows:\n  - {name: a, set: {k: 3}, seeds: [0, 1]}\n"
    )
    assert load_grid(str(yaml)) == toml


def test_a_grid_is_crossed_with_classes_and_seeds(make_plan: Any) -> None:
    """Cells that are left out or computed twice; two rows that ask for the same run and each compute it."""
    plan, _ = make_plan(
        [{"name": "a"}, {"name": "b", "metric": "unadapted_auroc"}, {"name": "c", "steps": 2}], seeds=[0, 1]
    )
    assert [len(line.cells) for line in plan.lines] == [4, 4, 4]
    assert plan.lines[0].cells == plan.lines[1].cells
    assert len(plan.cells) == 8
    settings = {(cell.config.normal_class, cell.config.seed, cell.config.steps) for cell in plan.cells.values()}
    assert settings == {(name, seed, steps) for name in ("3", "8") for seed in (0, 1) for steps in (4, 2)}


@pytest.mark.parametrize(
    ("classes", "found", "whole"),
    [("all", 10, True), (2, 2, True), (["3", 8], 2, False), ({"digits": ["5"]}, 1, False), ({"elpv": 1}, 10, True)],
)
def test_classes(classes: Any, found: int, whole: bool, make_plan: Any) -> None:
    """A mean over some classes that is put beside a published mean over all of them."""
    plan, _ = make_plan(classes=classes)
    assert (len(plan.lines[0].classes), plan.lines[0].whole) == (found, whole)


def test_extends(write_grid: Write, tmp_path: Path) -> None:
    """A user's change that replaces more of the grid below it than it names."""
    write_grid([{"name": "a"}], set={"k": 3, "clip": 0.5})
    above = tmp_path / "above.toml"
    above.write_text('extends = "small.toml"\n[settings]\nbackbone = "efficientnet_lite2"\nset = { k = 5 }\n')
    (row,) = load_grid(str(above)).rows
    assert row.settings["backbone"] == "efficientnet_lite2" and row.settings["steps"] == 4
    assert row.settings["set"] == {"k": 5, "clip": 0.5}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("rows = 3", "must have rows"),
        ("", "must have rows"),
        ("[[rows]]\nname = 'a'\n[[rows]]\nname = 'a'", "called `a`"),
        ("[[rows]]\nname = 'a'\nstep = 3", "step"),
        ("[[rows]]\nname = 'a'\nseed = 3", "seed"),
        ("[[rows]]\nname = 'a'\nseeds = 3", "seeds"),
        ("[[rows]]\nname = 'a'\nseeds = [1, 1]", "seeds"),
        ("[[rows]]\nname = 'a'\ndatasets = 'digits'", "datasets"),
        ("[[rows]]\nname = 'a'\nclasses = 0", "classes"),
        ("[[rows]]\nname = 'a'\ncuts = 'layer1'", "cuts"),
        ("[[rows]]\nname = 'a'\neval_epochs = 0", "eval_epochs"),
        ("[[rows]]\nname = 'a'\neval_epochs = 1\neval_every = 5", "eval_epochs"),
        ("titel = 'x'\n[[rows]]\nname = 'a'", "titel"),
        ("settings = 3\n[[rows]]\nname = 'a'", "settings"),
        ("[[rows]", "cannot be read"),
        ("extends = 'own.toml'\n[[rows]]\nname = 'a'", "extends itself"),
    ],
)
def test_a_wrong_file_is_one_sentence(content: str, word: str, tmp_path: Path) -> None:
    """A slip in a grid file that is passed over, or that ends in a traceback."""
    path = tmp_path / "own.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=word):
        load_grid(str(path))


def test_an_unknown_grid_names_those_that_exist(tmp_path: Path) -> None:
    """A typing error that leaves people to guess."""
    with pytest.raises(UsageError, match="`quick`"):
        load_grid("quik")
    with pytest.raises(UsageError, match="no grid file"):
        load_grid(str(tmp_path / "absent.toml"))


def test_one_wrong_row_does_not_stop_the_others(make_plan: Any) -> None:
    """A whole night lost to a typing error in one row; or a typing error that nobody hears of."""
    plan, _ = make_plan(
        [{"name": "good"}, {"name": "bad", "recipe": "nope"}, {"name": "gone", "datasets": ["cifar10"]}]
    )
    problems = {plan.cells[cell].problem for cell in plan.lines[1].cells}
    assert len(plan.runnable()) == 2
    assert all("nope" in problem for problem in problems)
    gone = [plan.cells[cell] for cell in plan.lines[2].cells]
    assert len(gone) == 2 and all(cell.missing and "CIFAR-10" in cell.problem for cell in gone)


def test_a_grid_without_a_cell_that_can_be_run_is_refused(make_plan: Any) -> None:
    """An empty table, written without a word."""
    plan, folder = make_plan([{"name": "bad", "recipe": "nope"}])
    with pytest.raises(UsageError, match="nope"):
        next(run_grid(plan, folder))


def test_another_network_for_every_row_that_has_a_pretrained_one() -> None:
    """A table of a ResNet in which half of the rows are still those of the small network; or an SVM not on pixels."""
    network = "timm:resnet18"
    grid = on_backbone(load_grid("table1"), network)
    networks = {row.name: row.settings.get("backbone") for row in grid.rows}
    assert {name for name, key in networks.items() if key == network} == {"Unadapted", "PANDA (EWC)", "PANDA-OE"}
    assert networks["MHRot"] == "rotnet" and networks["OC-SVM, fixed setting"] is None
    assert grid.name == "table1-timm-resnet18" and network in grid.title
    assert GridFolder.below("runs", grid.name).name == grid.name
    with pytest.raises(UsageError, match="nope"):
        on_backbone(grid, "nope")


@pytest.mark.parametrize(
    ("backbone", "cuts"),
    [
        (None, ["blocks.0", "blocks.1", "blocks.2", "blocks.4"]),
        ("timm:resnet18", ["maxpool", "layer1", "layer2", "layer3"]),
    ],
)
def test_table5_is_cut_where_its_network_has_the_stride(backbone: str | None, cuts: list[str], tmp_path: Path) -> None:
    """Stages of one network asked of another, which has none of them; stages of another stride under the same name."""
    grid = load_grid("table5") if backbone is None else on_backbone(load_grid("table5"), backbone)
    plan = plan_grid(grid, runs_dir=tmp_path, data_root=str(tmp_path))
    assert [plan.cells[line.cells[0]].config.set["cut"] for line in plan.lines[:4]] == cuts


def test_a_network_without_a_cut_of_its_own_is_told_of(make_plan: Any) -> None:
    """A row that silently takes another cut than the one that it is about."""
    plan, _ = make_plan([{"name": "a", "cuts": {"resnet": "layer1"}}])
    assert all("names no cut for `efficientnet_lite0`" in cell.problem for cell in plan.cells.values())


def test_measured_each_so_many_epochs(make_plan: Any) -> None:
    """Checkpoints of SES at other epochs than published where classes have other numbers of images."""
    rows = [{"name": "a", "eval_epochs": 2, "steps": 31, "train_limit": 30}]
    plan, _ = make_plan(rows, batch_size=7)
    ((config,),) = [{(cell.config.eval_every, cell.config.steps) for cell in plan.cells.values()}]
    assert config == (10, 30)  # five batches an epoch; three intervals, the last complete
    assert image_counts(RunConfig(dataset="cifar10", normal_class="cat", data_root="/no data")) == (5000, 10_000)
    table4 = {row.name: row.eval_epochs for row in load_grid("table4").rows}
    assert table4["PANDA-SES"] == 5


@pytest.mark.parametrize("name", [name for name in NAMED if name not in ("quick", "whitening", "deep_svdd", "mhrot")])
def test_a_grid_of_the_paper_has_the_papers_protocol(name: str) -> None:
    """Adapted features in one space beside unadapted ones in another; a tenth of the images kept from half of a table.

    Rows of whitening are about the space.
    """
    for row in load_grid(name).rows:
        assert row.settings["set"]["calibrate_on"] == "train", row.name
        assert row.settings["feature_norm"] == ("whiten" if "whiten" in row.name else "none"), row.name


def test_an_id_follows_from_what_is_computed_alone() -> None:
    """A grid that forgets its runs when its folder moves, or takes one run for another."""
    config = resolve(RunConfig(normal_class="3", steps=4))
    assert cell_id(config) == cell_id(config.replace(runs_dir="/elsewhere", name="x", data_root="/data", device="cpu"))
    others = [config.replace(seed=1), config.replace(steps=5), config.replace(set={**config.set, "k": 3})]
    others += [config.replace(roi="/a/roi.png#sha256=1a"), config.replace(roi="/a/roi.png#sha256=2b")]
    assert len({cell_id(one) for one in (config, *others)}) == 6
    assert cell_id(others[-1].replace(roi="/elsewhere/roi.png#sha256=2b")) == cell_id(others[-1])


@pytest.mark.parametrize("named", ["dataset", "outliers", "seen"])
def test_an_id_follows_from_the_images_of_a_folder(write_grid: Write, tmp_path: Path, named: str) -> None:
    """A table that mixes results of images as they were with those of images as they are."""
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        (tmp_path / "parts" / "good").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "parts" / "good" / f"{number}.png")
    folder = f"folder:{tmp_path / 'parts'}"
    rows: dict[str, dict[str, object]] = {
        "dataset": {"datasets": [folder], "classes": ["good"]},
        "outliers": {"recipe": "panda-oe", "set": {"outliers": str(tmp_path / "parts")}},
        "seen": {"recipe": "resad", "set": {"seen": f"good@{folder}"}},
    }
    file = write_grid(**rows[named])

    def ids() -> list[str]:
        plan = plan_grid(load_grid(str(file)), runs_dir=tmp_path, data_root=str(tmp_path))
        assert not [cell.problem for cell in plan.cells.values() if cell.problem]
        return list(plan.cells)

    before = ids()
    assert ids() == before
    first = tmp_path / "parts" / "good" / "0.png"
    content = first.read_bytes()
    first.write_bytes((tmp_path / "parts" / "good" / "1.png").read_bytes())
    assert not set(ids()) & set(before)
    first.write_bytes(content)
    assert ids() == before
    first.rename(first.with_name("9.png"))
    assert not set(ids()) & set(before)


def test_an_id_stays_what_it_was() -> None:
    """A grid that is computed once more after an update of the program: of a field that came later with no effect."""
    config = RunConfig(dataset="digits", normal_class="3", recipe="panda-ses", steps=32, set={"k": 2})
    assert cell_id(config) == "digits-3-panda-ses-0-878a7e01075f"


def test_published_figures_are_shares_with_sources() -> None:
    """A figure in percent among shares, one without a source, or a class that its data set does not have."""
    assert len(published_figures()) > 20
    for figures in published_figures():
        assert figures.source and figures.method
        assert figures.values or figures.classes
        numbers = [*figures.values.values(), *(one for table in figures.classes.values() for one in table.values())]
        assert all(0.4 < number <= 1 for number in numbers), figures.key
        for dataset, table in figures.classes.items():
            assert set(table) <= set(DATASETS[dataset].classes(Path("nowhere")))


@pytest.mark.parametrize(
    "key", ["table1/panda-ewc", "table1/mhrot", "mhrot/pretrained", "table1/deep-svdd", "table2/frozen"]
)
def test_published_classes_average_to_the_published_mean(key: str) -> None:
    """A typing error in one of ten figures: the paper's own average tells."""
    compared = 0
    for dataset in ("cifar10", "mvtec"):
        mean = published_for(key, "auroc", dataset, [], whole=True)
        classes = DATASETS[dataset].classes(Path("nowhere"))
        single = [published_class(key, "auroc", dataset, name) for name in classes]
        if mean is not None and all(single):
            values = [one.value for one in single if one is not None]
            assert sum(values) / len(values) == pytest.approx(mean.value, abs=0.0011)
            compared += 1
    assert compared


def test_a_published_mean_is_not_compared_with_one_class() -> None:
    """A difference between the mean of ten classes and one of them."""
    both = published_for("table1/frozen", "auroc", "cifar10", ["cat"], whole=False)
    cat = published_for("table1/panda-ewc", "auroc", "cifar10", ["cat"], whole=False)
    assert both is not None and not both.comparable and both.value == pytest.approx(0.925)
    assert cat is not None and cat.comparable and cat.value == pytest.approx(0.9055)
    assert published_for("table1/frozen", "auroc", "digits", ["3"], whole=True) is None
