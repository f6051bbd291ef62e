"""Networks, each cut into a frozen trunk and an adapted tail. Adding one: a file and a line here."""

from __future__ import annotations

from panda_core.backbones.backbone import Backbone, Preprocessing
from panda_core.backbones.efficientnet_lite import all_lite_backbones, lite_backbone
from panda_core.backbones.own_networks import OWN_NETWORKS
from panda_core.backbones.timm_networks import PREFIX, timm_backbone
from panda_core.errors import unknown_name

BACKBONES: dict[str, Backbone] = {
    "efficientnet_lite0": lite_backbone(0),
    "efficientnet_lite1": lite_backbone(1),
    "efficientnet_lite2": lite_backbone(2),
    "efficientnet_lite_all": all_lite_backbones(),
    **OWN_NETWORKS,
}


def find_backbone(key: str) -> Backbone:
    """Return the row called `key`, or the one of any `timm:NAME`; an unknown name raises `UsageError`."""
    if key.startswith(PREFIX):
        return timm_backbone(key)
    if key not in BACKBONES:
        raise unknown_name("backbone", key, [*BACKBONES, "timm:NAME"], "--backbone")
    return BACKBONES[key]


__all__ = ["BACKBONES", "Backbone", "Preprocessing", "find_backbone"]
