"""The layers of one run: what each is worth to the pretrained network, and how far it moved."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.shared.frame.charts import show as show_figure
from pages.shared.frame.glossary import tip
from panda_core.figures import fisher_figure, moved_figure
from panda_core.runs.adapt.layers import Layer, layers_of
from panda_core.runs.folder import RunFolder


def show_layers(folder: RunFolder, free: Sequence[Layer] = ()) -> None:
    """Draw the layers of a run; nothing where its checkpoints are gone.

    free: those of the same run with nothing holding its weights, to compare with.
    """
    layers = layers_of(folder)
    if not layers:
        return
    names = [layer.name for layer in layers]
    alone = {layer.name: layer.moved for layer in free}
    left, right = st.columns(2, gap="medium")
    if any(layer.mass is not None for layer in layers):
        with left:
            st.markdown("**What matters: Fisher information by layer**", help=tip("fisher_mass"))
            show_figure(fisher_figure(names, [layer.mass for layer in layers]), key="fisher", alt=_most(layers))
    with right:
        st.markdown("**What moved, and what was held**", help=tip("moved"))
        moved = moved_figure(names, [alone.get(name) for name in names], [layer.moved for layer in layers])
        show_figure(moved, key="moved", alt=_farthest(layers))


def _most(layers: Sequence[Layer]) -> str:
    first = max(layers, key=lambda layer: layer.mass or 0.0)
    return f"Fisher information of {len(layers)} layers; {first.name} holds most, {100 * (first.mass or 0):.0f} %."


def _farthest(layers: Sequence[Layer]) -> str:
    first = max(layers, key=lambda layer: layer.moved)
    return f"How far {len(layers)} layers moved; {first.name} moved farthest, {100 * first.moved:.2g} % of its size."
