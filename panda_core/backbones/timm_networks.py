"""Any network of timm, as `timm:NAME`, its weights from a file or downloaded by timm where there is a network.

Defaults follow the paper: a ResNet is cut after stage 2 (`layer2`), so that stages 3 and 4 are adapted; features are
pooled as the network's own head pools them, the mean over the last map of a ResNet; they stay raw. `outline.Outline`
says what other families get.
"""

from __future__ import annotations

import difflib
from functools import partial
from typing import TYPE_CHECKING, Any

from panda_core.backbones.backbone import Backbone
from panda_core.errors import UsageError
from panda_core.torchvision_operators import load_timm

if TYPE_CHECKING:
    from panda_core.backbones.network import Network

PREFIX = "timm:"


def _load(name: str, cut: str, weights: str = "") -> Network:
    from panda_core.backbones import timm_loading

    return timm_loading.load(name, cut, weights)


def _closest(timm: Any, architecture: str) -> list[str]:
    """Return the five names of timm that are closest to `architecture`: spelt like it, else of its family."""
    names = timm.list_models()
    family = [name for name in names if name.startswith(architecture.split("_")[0])] if architecture else []
    close = difflib.get_close_matches(architecture, names, n=5, cutoff=0.6)
    return [*close, *(name for name in family if name not in close)][:5] or timm.list_models("resnet*")[:5]


def timm_backbone(key: str) -> Backbone:
    """Return the row of `timm:NAME`; an unknown name raises `UsageError`. No weight is loaded yet."""
    from panda_core.backbones.outline import outline  # it needs torch, and the table of the bundled networks does not

    timm = load_timm()
    name = key.removeprefix(PREFIX)
    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        close = _closest(timm, architecture)
        known = ", ".join(f"`timm:{model}`" for model in close)
        raise UsageError(f"timm has no network `{name}`; closest: {known}. Set `--backbone timm:{close[0]}`.")
    try:
        spec = timm.get_pretrained_cfg(name)
    except RuntimeError:
        known = ", ".join(f"`timm:{tagged}`" for tagged in timm.list_pretrained(f"{architecture}.*"))
        raise UsageError(
            f"timm has no weights `{name}`; known: {known or 'none'}. Set `--backbone timm:{architecture}`."
        ) from None
    about = outline(name)
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
        image_size=about.image_size,
        levels=about.levels,
        load=partial(_load, name),
        missing=lambda: None,
        takes=about.takes,
    )
