"""Loading a network of timm and cutting it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from panda_core.backbones.backbone import Preprocessing
from panda_core.backbones.cutting import split
from panda_core.backbones.network import Network, digest, freeze
from panda_core.errors import DataMissing, UsageError
from panda_core.torchvision_operators import load_timm


def default_cut(network: nn.Module) -> str:
    """Return `layer2` for ResNets, else the last module of the stage that works at an eighth of the input side."""
    if hasattr(network, "layer2"):
        return "layer2"
    for stage in getattr(network, "feature_info", None) or []:
        if stage["reduction"] == 8:
            return str(stage["module"])
    raise UsageError("This network names no stage at an eighth of its input. Set `--set cut=NAME`.")


def preprocessing(network: nn.Module) -> Preprocessing:
    """Return what timm says of the weights. ResNets keep the paper's resize to 256 and crop of 224 (0.875)."""
    spec: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    return Preprocessing(tuple(spec["mean"]), tuple(spec["std"]), spec["interpolation"], float(spec["crop_pct"]))


def create(name: str, pretrained: bool) -> nn.Module:
    """Return timm's network `name`; `DataMissing` where its weights can be neither found nor downloaded."""

    timm = load_timm()
    try:
        return freeze(timm.create_model(name, pretrained=pretrained))
    except Exception as error:
        raise DataMissing(
            f"The weights of `timm:{name}` are not on this machine and could not be downloaded "
            f"({type(error).__name__}). Connect to a network once, or use the bundled `--backbone efficientnet_lite0`."
        ) from error


def load(name: str, cut: str, pretrained: bool = True) -> Network:
    """Return timm's network `name`, its trunk ending with module `cut` (empty: `default_cut`)."""
    network = create(name, pretrained)
    cut = cut or default_cut(network)
    trunk, tail = split(network, cut)
    with torch.no_grad():
        width = tail(trunk(torch.zeros(1, 3, *network.pretrained_cfg["input_size"][1:]))).shape[1]  # type: ignore[index]
    classifier = network.get_classifier()  # type: ignore[operator]
    return Network(
        trunk=freeze(trunk),
        tail=freeze(tail),
        classifier=classifier if isinstance(classifier, nn.Linear) else None,
        level_widths=(width,),
        preprocessing=preprocessing(network),
        cut=cut,
        weights_sha256=digest(network),
        stage_maps=partial(stage_maps, network),
        stages=tuple(name for name, _ in network.named_modules() if name),
        levels=default_levels(network),
    )


def default_levels(network: nn.Module) -> tuple[str, ...]:
    """Return `layer2` and `layer3` for ResNets (PatchCore), else the stages at an eighth and a sixteenth."""
    if hasattr(network, "layer2"):
        return ("layer2", "layer3")
    stages = getattr(network, "feature_info", None) or []
    return tuple(str(stage["module"]) for stage in stages if stage["reduction"] in (8, 16))


def stage_maps(network: nn.Module, x: Tensor, stages: Sequence[str]) -> list[Tensor]:
    """Return the outputs of the modules called `stages`; `UsageError` where one is no map (B, C, h, w)."""
    outputs: dict[str, Tensor] = {}
    modules = dict(network.named_modules())
    hooks = [
        modules[stage].register_forward_hook(
            lambda _module, _inputs, output, stage=stage: outputs.update({stage: output})
        )
        for stage in stages
    ]
    try:
        network.forward_features(x)  # type: ignore[operator]
    finally:
        for hook in hooks:
            hook.remove()
    channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"  # Swin and its kin
    for stage in stages:
        output = outputs.get(stage)
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise UsageError(
                f"Stage `{stage}` of this network gives no map of the image. Set `--set levels=` to others."
            )
    return [outputs[stage].permute(0, 3, 1, 2) if channels_last else outputs[stage] for stage in stages]
