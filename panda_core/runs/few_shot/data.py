"""The images of a run that generalises: seen classes to learn from, and a new one that shares none of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from panda_core.config import RunConfig
from panda_core.datasets import Images, Masks, OneClassTask, balanced_subset, find_dataset, split_digest
from panda_core.datasets.copies import shared_images
from panda_core.datasets.sets.synthetic import SyntheticImages, SyntheticMasks
from panda_core.errors import UnreadableImage, UsageError, unknown_name
from panda_core.runs.few_shot.settings import SeenSpec, levels_used, resolve, seen_specs
from panda_core.runs.segment.settings import SegmentPlan
from panda_core.runs.settings import choose_device, levels_of_config, load_network, open_images, with_known_range


@dataclasses.dataclass(frozen=True)
class SeenClass:
    """A class that is trained on: normal images, and anomalous ones with masks, if there are any.

    masks: of the anomalies, or None where they are images of other classes, every place of which is abnormal.
    how: where the anomalies come from, in words. drawn: whether anomaly number i is normal image number i, changed.
    """

    name: str
    normals: Images
    anomalies: Images | None
    masks: Masks | None
    how: str
    drawn: bool = False

    def subset(self, rows: np.ndarray) -> SeenClass:
        """Return the class with those of its anomalies alone."""
        anomalies = None if self.anomalies is None else self.anomalies.subset(rows)
        return dataclasses.replace(
            self, anomalies=anomalies, masks=None if self.masks is None else self.masks.subset(rows)
        )


@dataclasses.dataclass(frozen=True)
class FewShotPlan(SegmentPlan):
    """All that such a run needs: what a segmentation needs, for the new class, and the seen classes."""

    seen: tuple[SeenClass, ...]

    def others_sha256(self) -> dict[str, str]:
        """Return the digests of the seen classes."""
        return {
            one.name: split_digest(one.normals) + ("" if one.anomalies is None else split_digest(one.anomalies))
            for one in self.seen
        }


def open_seen(config: RunConfig) -> tuple[SeenClass, ...]:
    """Return the classes that a resolved config trains on."""
    specs = seen_specs(config)
    return tuple(_seen(config, spec, specs) for spec in specs)


def _seen(config: RunConfig, spec: SeenSpec, specs: tuple[SeenSpec, ...]) -> SeenClass:
    dataset = find_dataset(spec.dataset, levels_of_config(config))  # one range for all folders of a run
    root, limit = Path(config.data_root), int(config.set["seen_limit"])
    splits = dataset.open(root, spec.normal_class, config.seed)
    (rows,) = np.nonzero(splits.train_labels == splits.normal_label)
    rows = rows[balanced_subset(splits.train_labels[rows], limit, config.seed)]
    normals = splits.train.subset(rows)
    if len(normals) < 2:
        raise UsageError(f"`{spec}` has {len(normals)} normal training image(s); at least 2 are needed. Add images.")
    others = [other.normal_class for other in specs if other.dataset == spec.dataset and other != spec]
    wanted = str(config.set["anomalies"])
    is_other = np.isin(splits.train_labels, others)
    if wanted in ("auto", "labelled") and is_other.any() and not spec.kinds:
        # Class folders: images of the other seen classes, from the training split, are abnormal all over.
        (rows,) = np.nonzero(is_other)
        rows = rows[balanced_subset(splits.train_labels[rows], limit, config.seed)]
        return SeenClass(str(spec), normals, splits.train.subset(rows), None, "images of the other seen classes")
    classes = dataset.classes(root)
    known = sorted(set(splits.test_labels) - {splits.normal_label, *classes})
    for kind in spec.kinds:
        if kind not in known:
            raise unknown_name(f"kind of anomaly of `{spec.dataset}`", kind, known, "--set seen=")
    if (wanted == "auto" and splits.test_masks is not None and known) or wanted == "labelled" or spec.kinds:
        if splits.test_masks is None:
            raise UsageError(
                f"`{spec}` has anomalies without masks, so that nobody knows where they are. "
                "Set `--set anomalies=drawn`, or train on classes whose defects are marked."
            )
        (rows,) = np.nonzero(np.isin(splits.test_labels, spec.kinds or known))
        marked = np.array([_marked(splits.test_masks, int(row)) for row in rows], bool)
        rows = rows[marked]
        rows = rows[balanced_subset(splits.test_labels[rows], limit, config.seed)]
        how = f"labelled with masks: {', '.join(sorted(set(splits.test_labels[rows])))}"
        return SeenClass(str(spec), normals, splits.test.subset(rows), splits.test_masks.subset(rows), how)
    if wanted == "none":
        return SeenClass(str(spec), normals, None, None, "none")
    drawn = SyntheticImages.of(normals, config.seed).subset(np.arange(len(normals), 2 * len(normals)))
    return SeenClass(str(spec), normals, drawn, SyntheticMasks(drawn), "defects drawn into the normal images", True)


def _marked(masks: Masks, row: int) -> bool:
    try:
        return masks.load(row) is not None
    except UnreadableImage:
        return False


def open_task(config: RunConfig) -> OneClassTask:
    """Return the images of a resolved config: of its new class, nothing of which was trained on."""
    return only_new(config, open_images(config))


def prepare(config: RunConfig, task: OneClassTask | None = None) -> FewShotPlan:
    """Return the plan of `config`: data opened, network loaded. Raises where training and test share anything."""
    config = resolve(config)
    device = choose_device(config.device)
    config = with_known_range(config) if task is None else config
    seen = open_seen(config)
    task = open_task(config) if task is None else only_new(config, task)
    check_disjoint(seen, task)
    wanted = int(config.set["references"])
    if len(task.train) < wanted:
        raise UsageError(
            f"`references` must be at most {len(task.train)}, the normal images of `{config.normal_class}` that are "
            f"not tested on; got {wanted}. Set `--set references={len(task.train)}`."
        )
    config, network = load_network(config, device)
    levels = levels_used(config, network.stages, network.levels, network.cut)
    return FewShotPlan(config, network, task, device, levels, (int(config.steps or 0),), seen)


def only_new(config: RunConfig, task: OneClassTask) -> OneClassTask:
    """Return the test of the new class without the images whose class or kind of anomaly was trained on.

    Raises `UsageError` where no anomaly is left.
    """
    if task.kinds is None:
        return task
    trained = set[str]()
    for spec in seen_specs(config):
        if spec.dataset == config.dataset:
            trained |= set(spec.kinds) | {spec.normal_class}
    (rows,) = np.nonzero((task.is_anomaly == 0) | ~np.isin(task.kinds, sorted(trained)))
    if task.is_anomaly.any() and not task.is_anomaly[rows].any():
        raise UsageError(
            f"All anomalies of `{config.normal_class}` in `{config.dataset}` are of classes or kinds that are trained "
            "on, so that nothing new is left to find. Name fewer with `--set seen=`."
        )
    return dataclasses.replace(
        task,
        test=task.test.subset(rows),
        is_anomaly=task.is_anomaly[rows],
        masks=None if task.masks is None else task.masks.subset(rows),
        kinds=task.kinds[rows],
    )


def check_disjoint(seen: tuple[SeenClass, ...], task: OneClassTask) -> None:
    """Raise `UsageError` if a test image shows what one of the images that are trained on shows."""
    shared = shared_images(task.test, [images for one in seen for images in (one.normals, one.anomalies) if images])
    if shared:
        row, trained = shared[0]
        raise UsageError(
            f"The test image `{task.test.names[row]}` is also trained on: it is `{trained}` of a seen class, or that "
            "picture saved anew. Give data sets that do not overlap."
        )
