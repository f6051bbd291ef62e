"""One small network of each family of timm: the library's own functions with fewer and narrower layers."""

from __future__ import annotations

from typing import Any

from panda_core.torchvision_operators import load_timm

timm = load_timm()
_TOKENS = {"embed_dim": 48, "depth": 4, "num_heads": 2}
_SCALED = {**_TOKENS, "init_values": 1.0}  # untrained blocks of DINOv2 and DINOv3 add nothing that could be seen


def _made(name: str, **smaller: Any) -> Any:
    """Return a function that makes timm's network `name` smaller."""

    def make(pretrained: bool = False, **given: Any) -> Any:
        return timm.create_model(name, pretrained=pretrained, **{**smaller, **given})

    return make


# name here -> (function, side in pixels, stage at which it is cut by default, compared stages, activations of an image)
_CUT, _LEVELS = "blocks.2", ("blocks.1", "blocks.2")
FAMILIES: dict[str, tuple[Any, int, str, tuple[str, str], tuple[int, ...]]] = {
    "small_resnet": (_made("resnet10t"), 96, "layer2", ("layer2", "layer3"), (128, 12, 12)),
    "small_efficientnet": (_made("test_efficientnet"), 96, "blocks.2", ("blocks.2", "blocks.3"), (32, 12, 12)),
    "small_convnext": (
        _made("test_convnext", ls_init_value=1.0),
        96,
        "stages.1",
        ("stages.1", "stages.2"),
        (32, 12, 12),
    ),
    "small_swin": (
        _made(
            "swin_tiny_patch4_window7_224",
            img_size=128,
            window_size=4,
            embed_dim=16,
            depths=(1, 2, 1, 1),
            num_heads=(1, 2, 2, 4),
        ),
        128,
        "layers.1",
        ("layers.1", "layers.2"),
        (32, 16, 16),
    ),
    "small_vit": (_made("vit_tiny_patch16_224", img_size=96, **_TOKENS), 96, _CUT, _LEVELS, (37, 48)),
    "small_dinov2": (_made("vit_small_patch14_reg4_dinov2", **_SCALED), 224, _CUT, _LEVELS, (261, 48)),
    "small_dinov3": (_made("vit_small_patch16_dinov3", **_SCALED), 96, _CUT, _LEVELS, (41, 48)),
    "small_clip": (_made("vit_base_patch32_clip_224", **_TOKENS), 224, _CUT, _LEVELS, (50, 48)),
}


def register() -> None:
    """Have timm know the families under their names here."""
    for name, (make, *_) in FAMILIES.items():
        if not timm.is_model(name):  # several files of tests share a process
            make.__name__, make.__module__ = name, __name__
            timm.models.register_model(make)
