"""Loading a network of timm: its weights, its two halves and the maps of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from panda_core.backbones import cutting, tokens
from panda_core.backbones.backbone import Preprocessing
from panda_core.backbones.hub import cached_file, check_reachable, not_here
from panda_core.backbones.network import INPUT, Network, digest, freeze
from panda_core.backbones.outline import Outline, Stage, arguments, outline
from panda_core.backbones.weights_file import read_into
from panda_core.errors import PandaError, UsageError
from panda_core.torchvision_operators import load_timm


def preprocessing(network: nn.Module) -> Preprocessing:
    """Return what timm says of the weights. ResNets keep the paper's resize to 256 and crop of 224 (0.875)."""
    spec: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    return Preprocessing(tuple(spec["mean"]), tuple(spec["std"]), spec["interpolation"], float(spec["crop_pct"]))


def create(name: str, pretrained: bool) -> Any:
    """Return timm's network `name`; `DataMissing` where its weights can be neither found nor downloaded."""
    timm = load_timm()
    given = arguments(name)
    if not pretrained:
        return freeze(timm.create_model(name, pretrained=False, **given))
    spec = timm.get_pretrained_cfg(name)
    file = cached_file(spec)
    if file is not None:
        given = {**given, "pretrained_cfg_overlay": {"file": file}}  # timm would ask the network for a newer one
    else:
        check_reachable(name, spec)
    try:
        return freeze(timm.create_model(name, pretrained=True, **given))
    except Exception as error:
        raise not_here(name, error) from error


def split(network: nn.Module, known: Outline, cut: str) -> tuple[nn.Module, nn.Module]:
    """Return (trunk, tail) of a network after the stage `cut`; see `cutting.split` and `tokens.split`."""
    if cut != INPUT and tokens.is_transformer(network):
        return tokens.split(network, cut)
    return cutting.split(network, cut, channels_last=cut != INPUT and _channels_last(known, cut))


def _channels_last(known: Outline, cut: str) -> bool:
    """Return whether the module `cut` gives maps (B, h, w, C), as the network says or as its channels tell."""
    trunk, _ = cutting.split(known.network, cut)
    with torch.no_grad():
        shape: tuple[int, ...] = getattr(trunk(known.image()), "shape", ())
    width = next((stage.width for stage in known.stages if stage.name == cut), None)
    said = getattr(known.network, "output_fmt", "NCHW") == "NHWC"
    return len(shape) == 4 and (said or (shape[1] != width and shape[3] == width))


def default_cut(known: Outline) -> str:
    """Return the outline's cut, or `input` where the network cannot be taken apart there: all of it is adapted."""
    try:
        width_after(known, known.cut)
    except PandaError:
        return INPUT
    return known.cut


def width_after(known: Outline, cut: str) -> int:
    """Return how many features a network cut at `cut` gives; `UsageError` where it cannot be cut there."""
    trunk, tail = split(known.network, known, cut)
    with torch.no_grad():
        activations = trunk(known.image())
        if not isinstance(activations, Tensor):
            raise UsageError(f"Stage `{cut}` hands on more than one tensor. Set `--set cut={INPUT}` or another stage.")
        return int(tail(activations).shape[1])


def load(name: str, cut: str, weights: str = "", pretrained: bool = True) -> Network:
    """Return timm's network `name`, its trunk ending with stage `cut` (empty: `default_cut`).

    weights: "PATH#sha256=HEX" of a safetensors file, in place of what timm downloads; empty: none.
    """
    known = outline(name)
    cut = cut or default_cut(known)
    width = width_after(known, cut)  # before anything is downloaded
    network = create(name, pretrained and not weights)
    classifies, note = True, ""
    if weights:
        classifies, note = read_into(network, weights, network.pretrained_cfg["classifier"] or ())
        network = freeze(network)
    trunk, tail = split(network, known, cut)
    return Network(
        trunk=freeze(trunk),
        tail=freeze(tail),
        classifier=_classifier(network) if classifies else None,
        level_widths=(width,),
        preprocessing=preprocessing(network),
        cut=cut,
        weights_sha256=digest(network),
        stage_maps=partial(stage_maps, network, known.stages),
        stages=tuple(stage.name for stage in known.stages),
        levels=known.levels,
        patch=known.patch,
        note=note,
    )


def _classifier(network: nn.Module) -> nn.Linear | None:
    """Return the layer that gives logits of ImageNet's classes, or None: the last layer of CLIP compares with texts."""
    last = network.get_classifier()  # type: ignore[operator]
    of_classes = load_timm().data.infer_imagenet_subset(network.pretrained_cfg) is not None
    return last if isinstance(last, nn.Linear) and of_classes else None


def stage_maps(network: Any, known: Sequence[Stage], x: Tensor, stages: Sequence[str]) -> list[Tensor]:
    """Return the maps (B, C, h, w) of `stages`, whatever layout the network computes in.

    Tokens pass the network's last norm first, as in DINOv2's own interface: a few of them are far longer than the rest.
    `UsageError` for a name that is none, `PandaError` for a map whose channels are not where they must be.
    """
    by_name = {stage.name: (number, stage) for number, stage in enumerate(known)}
    for stage in stages:
        if stage not in by_name:
            raise UsageError(
                f"Stage `{stage}` of this network gives no map of the image; known: "
                f"{', '.join(by_name) or 'none'}. Set `--set levels=` to others."
            )
    numbers = sorted({by_name[stage][0] for stage in stages})
    maps = network.forward_intermediates(
        x,
        indices=numbers,
        norm=tokens.is_transformer(network),
        stop_early=True,
        output_fmt="NCHW",
        intermediates_only=True,
    )
    found = dict(zip(numbers, maps, strict=True))
    for number, level in found.items():
        check_map(known[number], level, x)
    return [found[by_name[stage][0]] for stage in stages]


def check_map(stage: Stage, level: Tensor, x: Tensor) -> None:
    """Raise `PandaError` where the map of a stage is not (B, C, h, h) over square images (B, 3, S, S).

    A network that keeps channels last would otherwise have its columns compared as channels, and gives a score.
    """
    batch, width, *grid = level.shape
    count = x.shape[0]  # `len` would write this number of images into a graph that is exported
    if (batch, width) != (count, stage.width) or len(grid) != 2 or grid[0] != grid[1]:
        raise PandaError(
            f"Stage `{stage.name}` gives a map of shape {list(level.shape)}, not ({count}, {stage.width}, h, h). "
            "This is a fault of the program; please report it."
        )
