"""Settings of segmentation runs: what is refused, and which network an adapted run hands on."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panda_core import PandaError, RunConfig, UsageError, load_run
from panda_core.cli import main
from panda_core.events import RunFailed, SegmentationEvaluated
from panda_core.runs.kinds import resolve
from panda_core.runs.settings import levels_of

Make, Finish = Callable[..., RunConfig], Callable[..., Any]


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"lr": 0.1}, ["`lr`", "0.1", "--lr"]),
        ({"steps": 3}, ["`steps`", "--steps"]),
        ({"scorer": "mean"}, ["`scorer`", "`mean`", "--scorer"]),
        ({"eval_every": 2}, ["`eval_every`", "--eval-every"]),
        ({"batch_size": 8}, ["`batch_size`", "--batch-size"]),
        ({"set": {"neighbourhood": 4}}, ["odd", "4", "--set neighbourhood=3"]),
        ({"set": {"rotations": 3}}, ["1, 2, 4 or 8", "--set rotations=4"]),
        ({"set": {"reweight": 3, "image_score": "part"}}, ["`reweight`", "--set top=0"]),
        ({"set": {"reweight": 3, "top": 0}}, ["`reweight`", "--set image_score=part"]),
        ({"set": {"reweight": 1, "top": 0, "image_score": "part"}}, ["`reweight`", "at least 2"]),
        ({"set": {"checkpoint": "4"}}, ["`checkpoint`", "--set adapted=RUN"]),
        ({"set": {"adapted": "nothing"}}, ["`nothing`"]),
        ({"set": {"k": 2}}, ["option `k`", "--set"]),
        ({"recipe": "spade", "set": {"coreset": 0.5}}, ["option `coreset`"]),
        ({"set": {"coreset": 0}}, ["`coreset`", "[1e-06, 1]"]),
        ({"recipe": "patchcor"}, ["`patchcor`", "--recipe patchcore"]),
    ],
    ids=str,
)
def test_what_has_no_effect_or_no_sense_is_refused(
    spot: Make, changes: dict[str, Any], parts: list[str], tmp_path: Path
) -> None:
    """A setting that is accepted and then ignored; a run folder made for nothing."""
    with pytest.raises(UsageError) as refused:
        resolve(spot(**changes))
    for part in parts:
        assert part in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1 and not (tmp_path / "runs").exists()


def test_an_unknown_stage_is_refused(spot: Make, finish: Finish, tmp_path: Path) -> None:
    """A KeyError of the network after a folder was made."""
    with pytest.raises(UsageError, match=r"Unknown stage `lst`; known: `last`.*--set levels=") as refused:
        finish(spot(set={"levels": "first,lst"}))
    assert refused.value and not (tmp_path / "runs").exists()


def test_too_little_memory_is_said_before_anything_grows(spot: Make) -> None:
    """A machine that swaps for minutes, and then kills the run."""
    from panda_core import run

    config, events = spot(image_size=512, train_limit=90, set={"memory_gb": 0.01}), []
    with pytest.raises(
        UsageError, match=r"90 normal images need 0\.1 GB; `memory_gb` allows 0\.01\..*--train-limit \d+`"
    ):
        for event in run(config):
            events.append(event)
    assert isinstance(events[-1], RunFailed) and "memory_gb" in events[-1].reason
    assert max(getattr(event, "done", 0) for event in events) == 0


@pytest.fixture
def adapted(tiny: Make, finish: Finish) -> Path:
    """Return the folder of an adaptation with checkpoints 0, 2, 4 and 6."""
    return Path(finish(tiny(lr=1.0))[0].path)


def test_every_checkpoint_has_its_maps(spot: Make, finish: Finish, adapted: Path, capsys: Any) -> None:
    """Maps of one network under four names; metrics of the wrong one; a detector of the pretrained network."""
    folder, events = finish(spot(set={"adapted": str(adapted), "checkpoint": "all"}))
    said = [event for event in events if isinstance(event, SegmentationEvaluated)]
    assert [event.step for event in said] == [0, 2, 4, 6]
    loaded = load_run(folder.path)
    maps = [loaded.maps(step).distances[1] for step in (0, 2, 4, 6)]
    for before, after in itertools.pairwise(maps):
        assert not np.allclose(before, after, rtol=1e-3)
    first = [loaded.maps(step).distances[0] for step in (0, 6)]
    np.testing.assert_array_equal(first[0], first[1], "this stage lies in the frozen trunk")
    metrics = loaded.metrics
    assert metrics is not None and metrics["stop_step"] == 6
    assert (metrics["auroc"], metrics["unadapted_auroc"]) == (said[-1].image_auroc, said[0].image_auroc)
    images = [loaded.images("test").load(row) for row in range(20)]
    np.testing.assert_allclose(loaded.detector().anomaly_scores(images), loaded.arrays(6).scores, rtol=1e-4, atol=1e-5)
    assert main(["verify", str(folder.path)]) == 0
    assert "bit for bit" in capsys.readouterr().out


@pytest.mark.parametrize(("checkpoint", "step"), [("last", 6), ("2", 2), ("0", 0)])
def test_one_checkpoint_is_the_one_named(spot: Make, finish: Finish, adapted: Path, checkpoint: str, step: int) -> None:
    """Another checkpoint's weights; step 0 that differs from the pretrained network."""
    config = spot(runs_dir=str(adapted.parent), set={"adapted": adapted.name, "checkpoint": checkpoint})
    loaded = load_run(finish(config)[0].path)
    assert [event.step for event in loaded.segmented] == [step]
    plain = load_run(finish(spot())[0].path).maps(0).distances[1]
    assert np.allclose(loaded.maps(step).distances[1], plain, rtol=1e-5) == (step == 0)


def test_what_does_not_fit_an_adapted_run_is_refused(spot: Make, finish: Finish, adapted: Path) -> None:
    """Weights of one network loaded into another; a segmentation taken for an adaptation."""
    from panda_core.runs.segment.settings import prepare

    with pytest.raises(UsageError, match=r"Unknown checkpoint `3`; known: .*`last`"):
        prepare(spot(set={"adapted": str(adapted), "checkpoint": "3"}))
    with pytest.raises(UsageError, match=r"adapted `tiny`, not `efficientnet_lite0`.*--backbone tiny"):
        resolve(spot(backbone="efficientnet_lite0", set={"adapted": str(adapted)}))
    folder, _ = finish(spot())
    with pytest.raises(UsageError, match="is a segmentation and has no adapted network"):
        resolve(spot(set={"adapted": str(folder.path)}))
    shutil.rmtree(adapted / "checkpoints")
    with pytest.raises(PandaError, match="has no checkpoint yet"):
        prepare(spot(set={"adapted": str(adapted)}))


def test_the_bundled_network_adapted_is_looked_at_after_its_cut(digits_run: Path, finish: Finish) -> None:
    """Maps of frozen stages, which no checkpoint changes; the cut of the defaults instead of the run's."""
    config = RunConfig(
        dataset="synthetic:digits", recipe="patchcore", image_size=64, train_limit=6, test_limit=4, device="cpu"
    )
    folder, _ = finish(config.replace(set={"adapted": str(digits_run), "checkpoint": "all", "levels": ""}))
    loaded = load_run(folder.path)
    assert [event.step for event in loaded.segmented] == [0, 2, 4]
    assert loaded.maps(0).distances[1].shape == loaded.maps(0).distances[0].shape == (4, 2, 2, 3)
    for group in (0, 1):
        assert not np.array_equal(*(loaded.maps(step).distances[group] for step in (0, 4)))


@pytest.mark.parametrize(
    ("stages", "cut", "levels", "expected"),
    [
        (["blocks.4", "blocks.5", "blocks.6"], "blocks.4", ["blocks.4", "blocks.5"], ("blocks.5", "blocks.6")),
        (
            ["blocks.1", "blocks.2", "blocks.3", "blocks.4"],
            "blocks.1",
            ["blocks.3", "blocks.4"],
            ("blocks.3", "blocks.4"),
        ),
        (["layer1", "layer2", "layer3", "layer4"], "layer2", ["layer2", "layer3"], ("layer3", "layer4")),
        (["blocks.3", "blocks.4", "blocks.5"], "blocks.4", ["blocks.2", "blocks.3"], ("blocks.5",)),
    ],
)
def test_levels_of_an_adapted_network(
    spot: Make, stages: list[str], cut: str, levels: list[str], expected: tuple[str, ...]
) -> None:
    """Frozen stages compared, which no adaptation changes; named stages overruled."""
    config = resolve(spot()).replace(set={**resolve(spot()).set, "adapted": "some run"})
    assert levels_of(config, tuple(stages), tuple(levels), cut) == expected
    named = config.replace(set={**config.set, "levels": f"{stages[1]}, {stages[0]}"})
    assert levels_of(named, tuple(stages), tuple(levels), cut) == (stages[1], stages[0])
    pretrained = config.replace(set={**config.set, "adapted": ""})
    assert levels_of(pretrained, tuple(stages), tuple(levels), cut) == tuple(levels)
