"""timm's own EfficientNet-Lite with the bundled weights: a reference with a forward that is not ours."""

from __future__ import annotations

from typing import Any

from panda_core.backbones.efficientnet_lite import weights_file
from panda_core.backbones.lite_network import whole_network
from panda_core.torchvision_operators import load_timm


def timms_lite(number: int) -> Any:
    """Return timm's network, in evaluation mode, without gradients."""
    file = weights_file(number)
    assert file is not None
    network = load_timm().create_model(f"tf_efficientnet_lite{number}", pretrained=False)
    network.load_state_dict(whole_network(number, file)[0].state_dict(), strict=True)
    return network.eval().requires_grad_(False)
