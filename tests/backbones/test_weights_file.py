"""Weights from a file: the right ones are loaded, any others are refused before anything is computed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from panda_core import PandaDetector, RunConfig, load_run, run
from panda_core.backbones import find_backbone, timm_loading
from panda_core.errors import DataMissing, PandaError, UsageError
from panda_core.events import DataNoted
from panda_core.runs.kinds import resolve
from panda_core.runs.run import resume
from panda_core.runs.settings import pinned
from tests.backbones.families import register

register()
KEY, NAME = "timm:test_efficientnet", "test_efficientnet"
Finish = Callable[..., Any]


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    return dict(timm_loading.create(NAME, pretrained=False).state_dict())


@pytest.fixture
def file(tensors: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    save_file(tensors, tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


def config(file: Path, **changes: Any) -> RunConfig:
    given: dict[str, Any] = {
        "normal_class": "3",
        "backbone": KEY,
        "recipe": "panda-early",
        "image_size": 32,
        "train_limit": 12,
        "test_limit": 12,
        "batch_size": 6,
        "steps": 4,
        "eval_every": 2,
        "lr": 0.05,
        "runs_dir": str(file.parent / "runs"),
        "device": "cpu",
        "set": {"weights": str(file)},
    }
    return RunConfig(**{**given, **changes})


def loaded(file: Path, key: str = KEY) -> Any:
    row = find_backbone(key)
    return row.load(row.cut, pinned(str(file)))


def test_a_file_replaces_the_weights(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A file that is named, hashed, and never read."""
    network = loaded(file)
    torch.manual_seed(5)
    own = timm_loading.load(NAME, "", pretrained=False)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.tail(network.trunk(x)), own.tail(own.trunk(x)))
    assert network.weights_sha256 == own.weights_sha256 and network.classifier is not None and not network.note


def test_the_bundled_networks_take_a_file_too(whole: Callable[[int], Any], tmp_path: Path) -> None:
    """An option that is offered and does nothing."""
    given = {
        name: value * 1.01 if value.is_floating_point() else value for name, value in whole(0).state_dict().items()
    }
    save_file(given, tmp_path / "lite.safetensors")
    network = loaded(tmp_path / "lite.safetensors", "efficientnet_lite0")
    assert torch.equal(network.trunk.conv_stem.weight, given["conv_stem.weight"])
    assert network.weights_sha256 != find_backbone("efficientnet_lite0").load("blocks.4").weights_sha256
    assert "weights" not in find_backbone("lenet").options, "it has none to replace"


@pytest.mark.parametrize(("rows", "has"), [(7, False), (0, False), (None, True)])
def test_a_classifier_of_other_classes_is_left_out(
    tensors: dict[str, torch.Tensor], tmp_path: Path, rows: int | None, has: bool
) -> None:
    """A network tuned to seven classes refused, or random logits used for elastic weights."""
    given = dict(tensors)
    for name in [name for name in given if name.startswith("classifier.") and rows is not None]:
        given[name] = given[name][:rows].clone()
        if not rows:
            del given[name]
    save_file(given, tmp_path / "own.safetensors")
    assert (loaded(tmp_path / "own.safetensors").classifier is not None) == has


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_is_converted_and_told(
    tensors: dict[str, torch.Tensor], tmp_path: Path, kind: torch.dtype, pictures: Callable[[], Path]
) -> None:
    """Half precision computed in half, refused without need, or taken for the weights in full."""
    given = {name: value.to(kind) if value.is_floating_point() else value for name, value in tensors.items()}
    save_file(given, tmp_path / "own.safetensors")
    network = loaded(tmp_path / "own.safetensors")
    assert {value.dtype for value in network.tail.parameters()} == {torch.float32}
    assert network.note == f"Weights in `own.safetensors` are {str(kind)[6:]}; float32 computes."
    if kind != torch.float16:
        return
    told = [event.told for event in run(config(tmp_path / "own.safetensors", steps=0)) if isinstance(event, DataNoted)]
    assert network.note in told


def damaged(kind: str, tensors: dict[str, torch.Tensor], file: Path) -> Path:
    """Write a file with one thing wrong."""
    given = dict(tensors)
    if kind == "lacks":
        del given["conv_stem.weight"]
    if kind == "more":
        given["more.weight"] = torch.zeros(3)
    if kind == "shape":
        given["conv_stem.weight"] = given["conv_stem.weight"][:4].clone()
    if kind in ("nan", "inf"):
        given["conv_stem.weight"] = given["conv_stem.weight"].clone()
        given["conv_stem.weight"][0, 0, 0, 0] = float(kind)
    if kind == "too large":
        given["conv_stem.weight"] = given["conv_stem.weight"].double()
        given["conv_stem.weight"][0, 0, 0, 0] = 1e300  # infinite in float32, which computes
    if kind == "negative":
        given["bn1.running_var"] = -given["bn1.running_var"]
    if kind == "int8":
        given["conv_stem.weight"] = given["conv_stem.weight"].to(torch.int8)
    if kind == "other":
        given = dict(timm_loading.create("test_convnext", pretrained=False).state_dict())
    save_file(given, file)
    if kind == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    if kind == "pickle":
        torch.save(tensors, file)
    if kind == "empty":
        file.write_bytes(b"")
    return file


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("lacks", "another network: it lacks `conv_stem.weight`. Set `--set weights=`"),
        ("more", "another network: this one has no `more.weight`."),
        ("shape", "another network: `conv_stem.weight` is [4, 3, 3, 3], not [24, 3, 3, 3]."),
        ("other", "another network: it lacks `blocks.0.0.bn1.bias` and "),
        ("nan", "`conv_stem.weight` in"),
        ("inf", "is not finite everywhere. Get the file anew."),
        ("too large", "is not finite everywhere. Get the file anew."),
        ("negative", "is a variance that is negative somewhere."),
        ("int8", "is int8, which is no number of a network here"),
        ("truncated", "is no whole safetensors file"),
        ("pickle", "is no whole safetensors file"),
        ("empty", "is no whole safetensors file"),
    ],
)
def test_bad_files_are_one_sentence(kind: str, told: str, tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    """A traceback, a network half of whose weights are random, or a run that ends in NaN after an hour."""
    file = damaged(kind, tensors, tmp_path / "own.safetensors")
    with pytest.raises(UsageError) as error:
        loaded(file)
    assert told in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(PandaError):
        list(run(config(file)))
    assert not list(tmp_path.glob("runs/*/events.jsonl")), "nothing was computed"


def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    """A file that runs a program when it is opened; a refusal that leaves the owner of a .pth alone."""
    torch.save({"a": torch.ones(2)}, tmp_path / "own.pth")
    with pytest.raises(
        UsageError, match=r"must be a \.safetensors file.*convert it with `python -c.*own\.safetensors"
    ) as e:
        resolve(config(tmp_path / "own.pth"))
    program = str(e.value).split('python -c "')[1].split('"')[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        exec(program)  # what the sentence says must work
    assert (tmp_path / "own.safetensors").is_file()


def test_the_run_remembers_which_file(file: Path, finish: Finish) -> None:
    """A run that is resumed, opened or verified with other weights, whose scores look like any others."""
    folder, _ = finish(config(file))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert folder.config().set["weights"] == f"{file}#sha256={digest}"
    scores = load_run(folder.path).detector().anomaly_scores(list(np.zeros((2, 40, 40, 3), np.uint8)))
    assert resolve(folder.config()) == folder.config()

    content = file.read_bytes()
    file.write_bytes(content[:-4] + b"\x00\x00\x80\x3f")
    with pytest.raises(UsageError, match=r"have changed: their SHA-256 begins with \w{12}, not " + digest[:12]):
        load_run(folder.path).detector()
    folder.write_state("stopped", "")
    with pytest.raises(UsageError, match="have changed"):
        list(resume(folder))
    file.unlink()
    with pytest.raises(DataMissing, match=r"no file of weights `.*own\.safetensors`"):
        load_run(folder.path).detector()
    file.write_bytes(content)
    again = load_run(folder.path).detector().anomaly_scores(list(np.zeros((2, 40, 40, 3), np.uint8)))
    assert np.array_equal(scores, again)


def test_maps_of_an_adapted_run_take_its_weights(file: Path, finish: Finish) -> None:
    """Checkpoints of one network laid over the pretrained half of another."""
    adapted, _ = finish(config(file))
    keys = ("steps", "eval_every", "lr")
    asked = config(file, recipe="patchcore", batch_size=32, **dict.fromkeys(keys), set={"adapted": str(adapted.path)})
    assert resolve(asked).set["weights"] == adapted.config().set["weights"]
    other = file.with_name("other.safetensors")
    other.write_bytes(file.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    with pytest.raises(UsageError, match="was computed with other weights"):
        resolve(asked.replace(set={**asked.set, "weights": str(other)}))


def test_a_detector_in_python_takes_a_file(file: Path) -> None:
    """An option that is known to the command line alone."""
    images = list(np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8))
    detector = PandaDetector(recipe="frozen", backbone=KEY, image_size=32, device="cpu", set={"weights": str(file)})
    assert np.isfinite(detector.fit(images).anomaly_scores(images)).all()
    with pytest.raises(DataMissing):
        PandaDetector(recipe="frozen", backbone=KEY, set={"weights": "nowhere.safetensors"}).fit(images)
