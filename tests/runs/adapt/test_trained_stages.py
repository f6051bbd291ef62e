"""Which stages are adapted: PANDA's Table 5, cut by cut, on the bundled network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from panda_core import RunConfig
from panda_core.backbones import find_backbone
from panda_core.bench.grid import load_grid
from panda_core.runs.adapt.loop import adapt
from panda_core.runs.kinds import prepare

CUTS = [str(row.settings["set"]["cut"]) for row in load_grid("table5").rows if "set" in row.settings]


def weights(part: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in part.parameters())


def test_each_row_of_the_table_trains_less_than_the_one_before() -> None:
    """Two rows of Table 5 that train the same stages, or weights that are in neither part of the network."""
    networks = [find_backbone("efficientnet_lite0").load(cut) for cut in ["input", *CUTS]]
    trained = [weights(network.tail) for network in networks]
    assert len(CUTS) == 4 and trained == sorted(set(trained), reverse=True)
    assert {weights(network.trunk) + weights(network.tail) for network in networks} == {trained[0]}


@pytest.mark.parametrize("cut", CUTS)
def test_what_lies_before_the_cut_and_all_statistics_stay(cut: str, tiny: Callable[..., RunConfig]) -> None:
    """A frozen stage that moves, one to be trained that does not, or BatchNorm statistics that drift at some cut."""
    config = tiny(
        backbone="efficientnet_lite0", steps=1, train_limit=8, test_limit=6, lr=1.0, set={"cut": cut, "clip": 1.0}
    )
    plan = prepare(config)
    network = plan.network
    before = {name: value.clone() for name, value in _named(network)}
    list(adapt(plan))
    moved = {name for name, value in _named(network) if not torch.equal(value, before[name])}
    assert moved and not [name for name in moved if name.startswith("trunk") or "running" in name]
    first = next(name for name, _ in network.tail.named_parameters())
    assert f"tail.{first}" in moved


def _named(network: Any) -> list[tuple[str, torch.Tensor]]:
    return [
        (f"{part}.{name}", value)
        for part in ("trunk", "tail")
        for name, value in getattr(network, part).state_dict().items()
    ]
