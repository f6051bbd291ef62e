"""Any timm network, cut by tracing. Weights are random here: nothing is downloaded."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import nn

from panda_core.backbones import find_backbone, timm_loading
from panda_core.backbones.network import digest
from panda_core.backbones.outline import outline
from panda_core.backbones.timm_loading import split
from panda_core.errors import DataMissing, UsageError


def pooled(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return network.forward_head(network.forward_features(x), pre_logits=True)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("resnet18", "layer1"),
        ("resnet18", "layer2"),
        ("resnet18", "layer3"),
        ("mobilenetv3_small_050", "blocks.2"),
        ("convnext_atto", "stages.1"),
        ("vit_tiny_patch16_224", "blocks.5"),
    ],
)
def test_trunk_then_tail_is_the_whole_network(name: str, cut: str) -> None:
    """A branch that is cut through, a stage run twice, or a head that pools otherwise."""
    torch.manual_seed(0)
    network = timm_loading.create(name, pretrained=False)
    x = torch.randn(2, 3, 224 if "vit" in name else 64, 224 if "vit" in name else 64)
    trunk, tail = split(network, outline(name), cut)
    with torch.no_grad():
        torch.testing.assert_close(tail(trunk(x)), pooled(network, x), rtol=1e-5, atol=1e-6)
    shared = {id(value) for value in trunk.parameters()} & {id(value) for value in tail.parameters()}
    assert not shared
    assert sum(value.numel() for value in tail.parameters()) > 0


def test_resnet_follows_the_paper() -> None:
    """Another cut, width, crop or norm than the paper's for the paper's kind of network."""
    torch.manual_seed(0)
    network = timm_loading.load("resnet18", "", pretrained=False)
    assert network.cut == "layer2"
    assert network.level_widths == (512,)
    adapted = {name.split(".")[1] for name, _ in network.tail.named_parameters()}
    assert adapted == {"layer3", "layer4"}
    assert network.logits(torch.zeros(1, 512)).shape == (1, 1000)
    row = find_backbone("timm:resnet18.tv_in1k")
    assert (row.follows_paper, row.feature_norm, row.lr, row.image_size) == (True, "none", 0.01, 224)
    assert network.preprocessing.crop == pytest.approx(0.875, abs=0.08)


def test_default_cut_is_an_eighth_of_the_input() -> None:
    """A trunk so deep, or so shallow, that its activations or the training cost too much."""
    for name, side in (("convnext_atto", 64), ("mobilenetv3_small_050", 64)):
        network = timm_loading.create(name, pretrained=False)
        trunk, _ = split(network, outline(name), outline(name).cut)
        with torch.no_grad():
            assert trunk(torch.zeros(1, 3, side, side)).shape[-1] == side // 8


def test_weights_digest_depends_on_the_weights() -> None:
    """Two networks of one architecture taken for one another in the cache."""
    digests = set()
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        digests.add(timm_loading.load("resnet18", "", pretrained=False).weights_sha256)
    assert len(digests) == 2


@pytest.mark.parametrize("cut", ["layer9", "layer2.0.conv1", "", "fc"])
def test_an_impossible_cut_is_one_sentence(cut: str) -> None:
    """A network cut through a residual block, or a traceback of the tracer."""
    network = timm_loading.create("resnet18", pretrained=False)
    with pytest.raises(UsageError, match=r"--set cut=NAME|--backbone"):
        split(network, outline("resnet18"), cut)


def test_unknown_names_are_one_sentence() -> None:
    """A traceback of timm, or a misspelt name taken for another network."""
    with pytest.raises(
        UsageError, match=r"no network `resnett18`; closest: `timm:resnet18`.*--backbone timm:resnet18`"
    ):
        find_backbone("timm:resnett18")
    with pytest.raises(UsageError, match=r"timm has no network ``"):
        find_backbone("timm:")
    with pytest.raises(UsageError, match=r"`efficientnet_lite9`; known: `efficientnet_lite\d`.*--backbone"):
        find_backbone("efficientnet_lite9")


def test_an_unknown_tag_is_one_sentence() -> None:
    """A misspelt tag found only after the data was read, and blamed on the network."""
    with pytest.raises(UsageError, match=r"timm has no .*`resnet18\.nope`"):
        find_backbone("timm:resnet18.nope")


def test_weights_that_cannot_be_downloaded_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A traceback of the downloader, or five lines that say it tries again, where there is no network."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_error(503)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        with pytest.raises(DataMissing, match=r"timm:resnet18\.tv_in1k.*--set weights=FILE.*efficientnet_lite0"):
            timm_loading.load("resnet18.tv_in1k", "")
        server.shutdown()
    assert len(asked) == 1 and "Retrying" not in caplog.text


def test_weights_in_the_cache_ask_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question to the network, and waits where there is none, for weights that are already here."""
    torch.manual_seed(3)
    network = timm_loading.create("resnet18", pretrained=False)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setattr(timm_loading, "cached_file", lambda spec: str(tmp_path / "model.safetensors"))
    monkeypatch.setattr(timm_loading, "check_reachable", lambda *_: pytest.fail("the network was asked"))
    assert timm_loading.load("resnet18.tv_in1k", "").weights_sha256 == digest(network)


def test_torchvision_repair_leaves_a_working_library_alone() -> None:
    """Operators declared twice where torchvision's compiled library loads; an import that fails where it does not."""
    program = (
        "import panda_core.torchvision_operators as repair, torch\n"
        "assert repair.load_timm().__name__ == 'timm'\n"
        "loads = repair._compiled_library_loads()\n"
        "assert (repair.declare_operators() is None) == loads\n"
        "assert torch.ops.torchvision.nms\n"
        "import torchvision\n"
        "from torchvision.transforms import v2\n"
        "if loads: assert torchvision.ops.nms(torch.tensor([[0., 0, 1, 1]]), torch.ones(1), 0.5).tolist() == [0]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
