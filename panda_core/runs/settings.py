"""What every kind of run shares on its way from a config to a plan: checks of values, data, device, network.

Light: torch is imported by `choose_device` and `load_network` alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panda_core.backbones import Backbone, Preprocessing, find_backbone
from panda_core.backbones.weights_file import pinned
from panda_core.config import TILES_OFF, Option, RunConfig, flag
from panda_core.datasets import DATASETS, OneClassTask, absolute_key, find_class, find_dataset, one_class_task
from panda_core.datasets.io.images import FileImages
from panda_core.datasets.io.ranges import DATA, FULL, levels_of_range
from panda_core.datasets.io.regions import pinned_region, read_region, task_within
from panda_core.datasets.io.samples import Levels
from panda_core.datasets.own.folder import PREFIX
from panda_core.datasets.sets.synthetic import PREFIX as SYNTHETIC
from panda_core.errors import BrokenRun, DataMissing, UsageError, unknown_name
from panda_core.records import absolute
from panda_core.region import Region
from panda_core.runs.calibration import with_reserved
from panda_core.runs.data import GIVEN_IMAGES
from panda_core.segmentation.geometry import network_side

if TYPE_CHECKING:
    import torch

    from panda_core.backbones.network import Network
    from panda_core.runs.folder import RunFolder

RANGE = "range"  # the option of how images of more than 8 bits are read
WEIGHTS = "weights"  # the option of a file of weights; written out, it has the file's SHA-256
OTHER_IMAGES = ("outliers", "background")  # options that name images besides those of the data set
NEAR = 128  # pixels within which another image size is looked for
BACKBONE = "efficientnet_lite0"  # of what is no recipe with its own
MAP_SIZE = 224  # input side of a run with maps: where a defect is needs more pixels than what an image shows
FIELDS = tuple(field.name for field in dataclasses.fields(RunConfig))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What every run needs before it computes. config: every default is written out. Each kind adds its own."""

    config: RunConfig
    network: Network
    task: OneClassTask
    device: torch.device

    def option(self, key: str) -> Any:
        """Return the value of a `--set` option."""
        return self.config.set[key]

    def others_sha256(self) -> dict[str, str]:
        """Return the digest of each set of images that takes part besides those of the data set, by its name."""
        return {}


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Return `config` with paths that mean the same from any folder: a run is read wherever it was started."""
    folders = {
        key: absolute(spec)
        for key in OTHER_IMAGES
        if (spec := str(config.set.get(key, ""))) not in ("", *DATASETS) and Path(absolute(spec)).is_dir()
    }
    return config.replace(
        dataset=absolute_key(config.dataset),
        data_root=absolute(config.data_root),
        runs_dir=absolute(config.runs_dir),
        roi=pinned_region(config.roi),
        set={**config.set, **folders},
    )


def check_data(config: RunConfig) -> tuple[str, int]:
    """Return (normal class, input side) of the config's dataset; `DataMissing` where it is not here."""
    if config.dataset == GIVEN_IMAGES:
        return "normal", 128
    dataset, root = find_dataset(config.dataset), Path(config.data_root)
    check_here(dataset.missing(root))
    return find_class(dataset, root, config.normal_class), dataset.image_size


_noted: ContextVar[list[str] | None] = ContextVar("noted", default=None)


@contextlib.contextmanager
def noting_missing() -> Iterator[list[str]]:
    """Give a list to which sentences of data and weights that are not here are added, in place of being raised.

    So that a config can be resolved, and its run be planned, on a machine that could not compute it.
    """
    missing: list[str] = []
    token = _noted.set(missing)
    try:
        yield missing
    finally:
        _noted.reset(token)


def check_here(missing: str | None) -> None:
    """Raise `DataMissing` with the sentence that says what is not here and how to get it, if there is one.

    Within `noting_missing` it is noted there instead.
    """
    noted = _noted.get()
    if missing is None:
        return
    if noted is None:
        raise DataMissing(missing)
    noted.append(missing)


def check_size(config: RunConfig, backbone: Backbone, seen: Callable[[int], int] = lambda side: side) -> None:
    """Raise `UsageError` where the network cannot take images of the config's size, with the nearest that it can.

    seen: image size -> the side in pixels that the network looks at.
    """
    size = config.image_size or backbone.image_size
    if size is None or backbone.takes(seen(size)):
        return
    ways = range(size - 1, max(15, size - NEAR), -1), range(size + 1, min(1025, size + NEAR))
    found = [next((side for side in way if seen(side) == side and backbone.takes(side)), None) for way in ways]
    near = [side for side in found if side is not None]
    which, advice = f"{backbone.image_size}, the only one it takes", "Leave `--image-size` out."
    if near:
        which, advice = f"{' or '.join(map(str, near))}, the nearest it takes", f"Set `--image-size {near[0]}`."
    raise UsageError(f"`image_size` of backbone `{backbone.key}` must be {which}; got {size}. {advice}")


def check_maps(config: RunConfig, backbone: Backbone) -> None:
    """Raise `UsageError` where the network of a config has no maps of its images to compare."""
    if not backbone.pretrained:
        why = "compares maps of a pretrained network, and `{}` is none"
    elif not backbone.levels:
        why = "compares maps, and timm names no stage of `{}` that gives one"
    else:
        check_size(config, backbone, network_side)
        return
    raise UsageError(f"Recipe `{config.recipe}` {why.format(backbone.key)}. Set `--backbone {BACKBONE}`.")


def check_neutral(
    config: RunConfig, neutral_values: Mapping[str, tuple[object, ...]], why: str = ", which adapts nothing"
) -> None:
    """Raise `UsageError` for a field that has no effect with the config's recipe, unless it is neutral."""
    for key, neutral in neutral_values.items():
        value = getattr(config, key)
        if value not in neutral:
            raise UsageError(
                f"`{key}` has no effect with recipe `{config.recipe}`{why}; got `{value}`. Leave `{flag(key)}` out."
            )


def check_needs(config: RunConfig, options: Mapping[str, Option]) -> None:
    """Raise `UsageError` for an option that the config's other settings leave without effect, unless it is default."""
    values = {**config.to_json(), **config.set}
    for key, option in options.items():
        unmet = option.unmet(values)
        if unmet is not None and values[key] != option.default:
            wanted = " or ".join(f"`{value}`" for value in option.needs[unmet])
            raise UsageError(
                f"`{key}` has no effect while `{unmet}` is `{values[unmet]}`: it needs {wanted}; got `{values[key]}`. "
                f"Leave `--set {key}=` out, or set `{flag(unmet) + ' ' if unmet in FIELDS else f'--set {unmet}='}"
                f"{option.needs[unmet][0]}`."
            )


def check_cut(config: RunConfig, also: str = "") -> None:
    """Raise `UsageError` for a cut that nothing depends on: maps come from named stages. also: another one allowed."""
    row, cut = find_backbone(str(config.backbone)), config.set["cut"]
    if row.cuts and cut not in (row.cut, also):  # a timm network's own is known once it is loaded
        raise UsageError(f"`cut` has no effect with recipe `{config.recipe}`; got `{cut}`. Leave `--set cut=` out.")


def resolved_options(given: Mapping[str, object], options: Mapping[str, Option]) -> dict[str, Any]:
    """Return the value of every option, checked: what is given, else its default."""
    for key in given:
        if key not in options:
            raise unknown_name("option", key, sorted(options), "--set")
    values = {key: option.parse(key, given.get(key, option.default)) for key, option in options.items()}
    if values.get(RANGE, DATA) != DATA:
        levels_of_range(str(values[RANGE]))  # it raises for a text that means nothing
    if values.get(WEIGHTS):
        values[WEIGHTS] = pinned(str(values[WEIGHTS]))
    return values


def levels_of(config: RunConfig, stages: tuple[str, ...], levels: tuple[str, ...], cut: str) -> tuple[str, ...]:
    """Return the stages whose maps are compared: those named, else the network's own.

    With an adapted network only stages after the cut show what the adaptation did: those of the network's own that
    lie there, or the first two if these are fewer.
    """
    named = [part.strip() for part in str(config.set["levels"]).split(",") if part.strip()]
    for stage in named:
        if stage not in stages:
            raise unknown_name("stage", stage, stages, "--set levels=")
    if named:
        return tuple(named)
    if config.set.get("adapted") and cut in stages:
        adapted = stages[stages.index(cut) + 1 :]
        usual = tuple(stage for stage in levels if stage in adapted)
        return usual if len(usual) > 1 else adapted[:2]
    if not levels:
        raise UsageError("This network names no stages of its own. Set `--set levels=NAME,NAME`.")
    return levels


def data_options(config: RunConfig) -> dict[str, Option]:
    """Return the options of how images are read, common to every recipe; benchmarks have 8 bits and need none."""
    if config.dataset != GIVEN_IMAGES and not config.dataset.removeprefix(SYNTHETIC).startswith(PREFIX):
        return {}
    return {
        RANGE: Option(
            default=FULL,
            help="images of more than 8 bits: full, data or LOW-HIGH",
            plain="What is black and white in images of more than 8 bits: `full` keeps the highest 8 bits; `data` goes "
            "from black to white of the normal images; `0-4095`, for instance, gives the values.",
        )
    }


def levels_of_config(config: RunConfig) -> Levels | None:
    """Return the sample values that a run with this config takes as black and white; None for the whole range."""
    return levels_of_range(str(config.set.get(RANGE, FULL)))


def with_known_range(config: RunConfig) -> RunConfig:
    """Return a resolved config whose `range` is in numbers: what `data` means is decided once, by the normal images."""
    if config.set.get(RANGE) != DATA:
        return config
    if config.roi:
        raise UsageError(
            f"`range={DATA}` looks at whole images, and `--roi` says that a part of them counts. Give LOW-HIGH."
        )
    train = open_images(config.replace(set={**config.set, RANGE: FULL})).train
    return config.replace(
        set={**config.set, RANGE: str(levels_of_range(DATA, train if isinstance(train, FileImages) else None))}
    )


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; `auto` is the first of cuda, mps and cpu that is there."""
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if present[kind])
    kind, _, number = name.partition(":")
    if not present[kind]:
        raise UsageError(f"Device `{name}` is not on this machine. Set `--device auto`.")
    if number and int(number) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise UsageError(f"Device `{name}` is not on this machine, whose last is `cuda:{last}`. Set `--device auto`.")
    return torch.device(name)


def load_network(config: RunConfig, device: torch.device) -> tuple[RunConfig, Network]:
    """Return the network of a resolved config on `device`, and the config with its cut.

    A timm network names its own cut only when it is loaded. Runs from before there was a choice name no weights.
    """
    backbone = find_backbone(str(config.backbone))
    network = backbone.load(str(config.set["cut"]), str(config.set.get(WEIGHTS, ""))).to(device)
    if config.roi:
        prepared = dataclasses.replace(network.preprocessing, region=region_of(config))
        network = dataclasses.replace(network, preprocessing=prepared)
        _check_seen(config, prepared)
    return config.replace(set={**config.set, "cut": network.cut}), network


def check_weights(folder: RunFolder, network: Network) -> None:
    """Raise `BrokenRun` where a network is not the one that a run recorded: its scores would be others."""
    recorded = (folder.read(folder.environment_file.name) or {}).get("weights_sha256")
    if recorded not in (None, network.weights_sha256):
        raise BrokenRun(
            f"Run `{folder.run_id}` was made with other weights of its network than those of this machine, or by a "
            "version that put networks together otherwise. Install the versions that its environment.json names, or "
            "run it again."
        )


def check_others(folder: RunFolder, plan: Plan) -> None:
    """Raise `BrokenRun` where other images than those that a run recorded take part besides those of its data set."""
    recorded = (folder.read(folder.environment_file.name) or {}).get("others_sha256")
    if recorded is None:
        return
    now = plan.others_sha256()
    changed = [f"`{name}`" for name in recorded if recorded[name] != now.get(name)]
    if changed:
        raise BrokenRun(
            f"The images of {' and '.join(changed)} have changed since run `{folder.run_id}` began. What it computed "
            "is kept. Put them back as they were, or start a new run."
        )


def _check_seen(config: RunConfig, preprocessing: Preprocessing) -> None:
    """Raise `UsageError` where resizing mixes every pixel of the region with paint: all images would look the same."""
    from panda_core.features.trunk import counted

    size = network_side(int(config.image_size or 0)) if config.tiles == TILES_OFF else 0
    seen = counted(size, preprocessing) if size else None
    if seen is not None and not seen.any():
        raise UsageError(
            f"The region of interest is too thin: at {size} px nothing of it is left, and all images look the same. "
            f"Mark more, or set `--image-size {min(1024, 2 * size)}`."
        )


def region_of(config: RunConfig) -> Region | None:
    """Return what of the images of a config counts; None: all. `UsageError` or `DataMissing` for what is no region."""
    return read_region(config.roi) if config.roi else None


def within_region(task: OneClassTask, config: RunConfig) -> OneClassTask:
    """Return a task as a run looks at it: what lies outside of the config's region is painted over."""
    region = region_of(config)
    return task if region is None else task_within(task, region)


def open_images(config: RunConfig) -> OneClassTask:
    """Return the images of a resolved config as its dataset splits them."""
    dataset = find_dataset(config.dataset, levels_of_config(config))
    splits = dataset.open(Path(config.data_root), str(config.normal_class), config.seed)
    return one_class_task(splits, train_limit=config.train_limit, test_limit=config.test_limit, seed=config.seed)


def open_calibrating(config: RunConfig, calibrating: Callable[[int], int]) -> OneClassTask:
    """Return the images of a resolved config; in a folder of one's own some normal test images may calibrate.

    calibrating: number of normal training images -> how many of these calibrate.
    """
    task = open_images(config)
    if not config.dataset.startswith(PREFIX):
        return task
    return with_reserved(task, config.seed, calibrating(len(task.train)))


def check_given(task: OneClassTask) -> OneClassTask:
    """Return a task that was handed over in Python; `UsageError` where it is too small."""
    if len(task.train) < 2:
        raise UsageError(f"At least 2 normal images are needed; got {len(task.train)}. Add images.")
    return task
