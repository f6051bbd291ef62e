"""Any network of timm, as `timm:NAME`, its weights downloaded by timm where there is a network.

Defaults follow the paper: a ResNet is cut after stage 2 (`layer2`), so that stages 3 and 4 are adapted; the last
feature map is average-pooled; features stay raw.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from panda_core.backbones.backbone import Backbone
from panda_core.errors import UsageError
from panda_core.torchvision_operators import load_timm

if TYPE_CHECKING:
    from panda_core.backbones.network import Network

PREFIX = "timm:"


def _load(name: str, cut: str) -> Network:
    from panda_core.backbones import timm_loading

    return timm_loading.load(name, cut)


def timm_backbone(key: str) -> Backbone:
    """Return the row of `timm:NAME`; an unknown name raises `UsageError`. No weight is loaded yet."""
    timm = load_timm()
    name = key.removeprefix(PREFIX)
    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        close = timm.list_models(f"*{architecture.split('_')[0]}*")[:5] or timm.list_models("resnet*")[:5]
        known = ", ".join(f"`timm:{model}`" for model in close)
        raise UsageError(f"timm has no network `{name}`; near it: {known}. Set `--backbone timm:resnet152.tv_in1k`.")
    try:
        spec = timm.get_pretrained_cfg(name)
    except RuntimeError:
        known = ", ".join(f"`timm:{model}`" for model in timm.list_pretrained(f"{architecture}.*"))
        raise UsageError(
            f"timm has no weights `{name}`; known: {known or 'none'}. Set `--backbone timm:{architecture}`."
        ) from None
    return Backbone(
        key=key,
        title=f"{name} (timm)",
        source="timm, Wightman 2019",
        licence=str(getattr(spec, "license", None) or "see timm's model card"),
        cut="",
        cuts=(),
        feature_norm="none",
        lr=0.01,
        follows_paper=True,
        image_size=int(spec.input_size[1]) if spec is not None else 224,
        levels=(),
        load=partial(_load, name),
        missing=lambda: None,
    )
