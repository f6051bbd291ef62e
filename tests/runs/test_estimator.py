"""`PandaDetector` as an estimator: what scikit-learn's ecosystem calls, and which sign everything has."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import InputTags, Tags, TargetTags, estimator_checks
from torch.utils.data import Dataset

from panda_core import PandaDetector, UsageError, load_run
from panda_core.errors import PandaError

# Of scikit-learn's checks: those that need no data run as they are,
AS_THEY_ARE = (
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
)
# those that feed tables of numbers are written below with images,
WITH_IMAGES = {
    "check_dict_unchanged": "test_using_it_changes_nothing",
    "check_dont_overwrite_parameters": "test_fitting_adds_what_is_learned_and_changes_no_argument",
    "check_estimators_overwrite_params": "test_fitting_adds_what_is_learned_and_changes_no_argument",
    "check_estimators_fit_returns_self": "test_fitting_adds_what_is_learned_and_changes_no_argument",
    "check_fit_check_is_fitted": "test_fitting_adds_what_is_learned_and_changes_no_argument",
    "check_fit_idempotent": "test_fitting_again_gives_the_same",
    "check_fit_score_takes_y": "test_labels_leave_anomalous_images_out",
    "check_estimators_pickle": "test_a_copy_in_another_process_scores_the_same",
    "check_methods_sample_order_invariance": "test_an_image_is_judged_by_itself",
    "check_methods_subset_invariance": "test_an_image_is_judged_by_itself",
    "check_pipeline_consistency": "test_a_pipeline_prepares_images",
    "check_outliers_train": "test_signs_are_those_of_the_table",
    "check_readonly_memmap_input": "test_using_it_changes_nothing",
    "check_classifier_data_not_an_array": "test_every_kind_of_sequence_is_learned_from",
    "check_estimators_empty_data_messages": "tests/runs/test_given_images.py",
    "check_estimators_unfitted": "tests/runs/test_detector.py",
}
# and these have no meaning here.
TABLE = "an image is no row of a table: number, names and kinds of columns mean nothing"
LEFT_OUT = {
    **dict.fromkeys(("check_n_features_in", "check_n_features_in_after_fitting", "check_fit2d_1feature"), TABLE),
    **dict.fromkeys(("check_fit1d", "check_fit2d_1sample", "check_fit2d_predict1d", "check_dtype_object"), TABLE),
    **dict.fromkeys(("check_estimator_sparse_tag", "check_estimator_sparse_array"), "images are dense"),
    "check_estimator_sparse_matrix": "images are dense",
    **dict.fromkeys(("check_estimators_dtypes", "check_complex_data"), "pixels are uint8; others are refused"),
    **dict.fromkeys(("check_estimators_nan_inf", "check_positive_only_tag_during_fit"), "uint8 has no NaN, no sign"),
    "check_array_api_input": "images come from files and as NumPy arrays",
    "check_f_contiguous_array_estimator": "an array of images is read image by image",
    "check_non_transformer_estimators_n_iter": "there is no `max_iter`",
}


def normals(count: int, seed: int = 0) -> np.ndarray:
    """Return uint8 (N, 24, 24, 3): dark images with a bright left half."""
    images = np.random.default_rng(seed).integers(0, 40, (count, 24, 24, 3), dtype=np.uint8)
    images[:, :, :12] += 180
    return images


def anomalies(count: int) -> np.ndarray:
    return np.rot90(normals(count, seed=9), axes=(1, 2)).copy()


@pytest.fixture
def frozen(tiny_backbone: str) -> PandaDetector:
    return PandaDetector(recipe="frozen", backbone=tiny_backbone, image_size=32, device="cpu")


@pytest.mark.parametrize("check", AS_THEY_ARE)
def test_checks_of_scikit_learn(check: str) -> None:
    """An argument that is changed or checked when it is stored; an estimator that cannot be copied."""
    getattr(estimator_checks, check)("PandaDetector", PandaDetector(recipe="frozen"))


def test_every_check_of_scikit_learn_is_run_or_has_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that a new version brings, and that nobody looks at."""
    as_outlier_detector = Tags("outlier_detector", TargetTags(required=False), input_tags=InputTags())
    monkeypatch.setattr(PandaDetector, "__sklearn_tags__", lambda self: as_outlier_detector)
    with pytest.warns(UserWarning, match="does not inherit"):
        checks = [check for _, check in estimator_checks.estimator_checks_generator(PandaDetector())]
    names = {(check.func if isinstance(check, functools.partial) else check).__name__ for check in checks}
    assert names == {*AS_THEY_ARE, *WITH_IMAGES, *LEFT_OUT}
    here = {name for name in WITH_IMAGES.values() if not name.endswith(".py")}
    assert here <= set(globals())


def test_signs_are_those_of_the_table(frozen: PandaDetector) -> None:
    """The one table of signs in the README: a verdict and a decision that disagree, a sign turned twice."""
    frozen.fit(normals(40))
    images = np.concatenate([normals(30, seed=5), anomalies(10)])
    scores = frozen.anomaly_scores(images)
    np.testing.assert_array_equal(frozen.score_samples(images), -scores.astype(np.float64))
    assert scores[30:].min() > scores[:30].max()
    for rate in (0.05, 0.3, 0.6):
        decided = frozen.decision_function(images, false_alarm_rate=rate)
        np.testing.assert_array_equal(decided, frozen.threshold(rate) - scores.astype(np.float64))
        np.testing.assert_array_equal(frozen.predict(images, false_alarm_rate=rate), (decided < 0).astype(int))
    assert frozen.score(images, [0] * 30 + [1] * 10) == 1.0
    assert frozen.score(images, [1] * 30 + [0] * 10) == 0.0
    assert np.isnan(frozen.score(normals(3), [0, 0, 0]))


def test_fitting_adds_what_is_learned_and_changes_no_argument(frozen: PandaDetector) -> None:
    """Arguments that `fit` replaces by what it found out, so that a copy fits otherwise than the first."""
    before, attributes = frozen.get_params(), set(vars(frozen))
    assert not frozen.__sklearn_is_fitted__()
    assert frozen.fit(normals(8)) is frozen
    assert frozen.__sklearn_is_fitted__()
    assert frozen.get_params() == before
    assert all(name.endswith("_") or name.startswith("_") for name in set(vars(frozen)) - attributes)
    copy = clone(frozen)
    assert copy.get_params() == before and not copy.__sklearn_is_fitted__()
    assert repr(copy) == "PandaDetector(recipe='frozen', backbone='tiny', image_size=32, device='cpu')"


def test_arguments_are_changed_for_the_next_fit(frozen: PandaDetector) -> None:
    """Scores read with settings that were never learned with; a misspelt name that is stored without a word."""
    scores = frozen.fit(normals(8)).anomaly_scores(anomalies(3))
    assert frozen.set_params(image_size=64, set={"k": 3}) is frozen
    np.testing.assert_array_equal(frozen.anomaly_scores(anomalies(3)), scores)
    assert frozen.config.image_size == 32
    frozen.fit(normals(8))
    assert frozen.config.image_size == 64 and frozen.config.set["k"] == 3
    with pytest.raises(UsageError, match=r"Unknown argument.*`image_sise`.*`image_size`"):
        frozen.set_params(image_sise=32)
    with pytest.raises(UsageError, match="Unknown recipe"):
        clone(frozen).set_params(recipe="forzen").fit(normals(8))


def test_the_detector_of_a_run_can_be_fitted_anew(digits_run: Path) -> None:
    """A copy of a run's detector that has the default settings instead of the run's."""
    loaded = load_run(digits_run)
    params = clone(loaded.detector()).get_params()
    assert {name: loaded.config.to_json()[name] for name in params} == params


def test_fitting_again_gives_the_same(frozen: PandaDetector) -> None:
    """A second fit that starts from what the first one left."""
    first = frozen.fit(normals(12)).anomaly_scores(anomalies(4))
    np.testing.assert_array_equal(frozen.fit(normals(12)).anomaly_scores(anomalies(4)), first)
    np.testing.assert_array_equal(clone(frozen).fit(normals(12)).anomaly_scores(anomalies(4)), first)


def test_a_copy_in_another_process_scores_the_same(digits_run: Path) -> None:
    """A detector that joblib cannot hand to its workers."""
    detector = load_run(digits_run).detector()
    copy = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(copy.decision_function(anomalies(4)), detector.decision_function(anomalies(4)))


def test_an_image_is_judged_by_itself(frozen: PandaDetector) -> None:
    """A score that depends on which images are asked about, in which order."""
    frozen.fit(normals(12))
    images = np.concatenate([normals(6, seed=4), anomalies(6)])
    order = np.random.default_rng(0).permutation(12)
    for method in (frozen.score_samples, frozen.decision_function, frozen.predict):
        whole = method(images)
        near = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7)  # a decision is a difference
        near(method(images[order]), whole[order])
        near(np.concatenate([method([image]) for image in images]), whole)


def test_using_it_changes_nothing(frozen: PandaDetector) -> None:
    """A method that leaves something behind in the detector, or writes into the images."""
    images = normals(12)
    images.setflags(write=False)
    state = dict(vars(frozen.fit(images)))
    for method in (frozen.anomaly_scores, frozen.score_samples, frozen.decision_function, frozen.predict):
        method(images)
    assert vars(frozen) == state


class Numbered(Dataset[Any]):
    """A Dataset that, as many do, has no end when it is iterated, and cannot be sliced."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index % len(self.items)]


class Labelled:
    """What pandas gives for a column whose rows were drawn: `column[3]` is what is labelled 3."""

    def __init__(self, items: list[Any]) -> None:
        self.iloc = items

    def __len__(self) -> int:
        return len(self.iloc)

    def __iter__(self) -> Any:
        return iter(self.iloc)

    def __getitem__(self, label: int) -> Any:
        return self.iloc[len(self.iloc) - 1 - label]


def test_every_kind_of_sequence_is_learned_from(frozen: PandaDetector, tmp_path: Path) -> None:
    """A Dataset that is refused, or asked beyond its end; labels taken for images; rows in another order."""
    images = normals(70)
    files = [str(tmp_path / f"{row:02}.png") for row in range(len(images))]
    for file, pixels in zip(files, images, strict=True):
        Image.fromarray(pixels).save(file)
    kinds: list[Any] = [
        list(images),
        files,
        np.array(files),
        Numbered([Image.fromarray(pixels) for pixels in images]),
        Numbered([(pixels, row, "label") for row, pixels in enumerate(images)]),
        Labelled(files),
    ]
    expected = frozen.fit(images).anomaly_scores(images)
    for kind in kinds:
        np.testing.assert_array_equal(frozen.anomaly_scores(kind), expected)
        np.testing.assert_array_equal(clone(frozen).fit(kind).anomaly_scores(images[:3]), expected[:3])
    with pytest.raises(UsageError, match=r"Image 0 must be .*got Tensor.*`ToTensor`"):
        frozen.anomaly_scores(Numbered([(torch.zeros(3, 8, 8), 0)] * 4))


def write(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    for row, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{row:02}.png")


@pytest.mark.parametrize("good", ["", "good", "train/good"])
def test_a_folder_is_learned_from(frozen: PandaDetector, tmp_path: Path, good: str) -> None:
    """Anomalous or test images learned from as normal; the third of the normals that a run would test on, unused."""
    write(tmp_path / "set" / good, normals(12))
    if good:
        write(tmp_path / "set" / good.replace("train/good", "test/bad").replace("good", "bad"), anomalies(4))
    if "/" in good:
        write(tmp_path / "set/test/good", normals(3, seed=3))
    expected = clone(frozen).fit(normals(12)).anomaly_scores(anomalies(4))
    np.testing.assert_array_equal(frozen.fit(tmp_path / "set").anomaly_scores(anomalies(4)), expected)
    np.testing.assert_array_equal(frozen.fit(str(tmp_path / "set")).anomaly_scores(anomalies(4)), expected)


def test_a_folder_that_leaves_open_what_is_normal(frozen: PandaDetector, tmp_path: Path) -> None:
    """A class that is picked by the alphabet; a folder without images that fails somewhere inside."""
    for name, images in (("cat", normals(6)), ("dog", anomalies(6))):
        write(tmp_path / "set/train" / name, images)
        write(tmp_path / "set/test" / name, images)
    with pytest.raises(UsageError, match=r"Unknown class.*`cat`, `dog`"):
        frozen.fit(tmp_path / "set")
    frozen.set_params(normal_class="dog").fit(tmp_path / "set")
    assert frozen.anomaly_scores(normals(3)).min() > frozen.anomaly_scores(anomalies(3)).max()
    for name in ("", "x" * 5000):
        with pytest.raises(UsageError, match="must be a list of images"):
            frozen.fit(name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PandaError, match="holds no images"):
        frozen.fit(tmp_path / "empty")


def test_labels_leave_anomalous_images_out(frozen: PandaDetector) -> None:
    """Cross-validation that learns defects as normal; scikit-learn's 1 and -1 read the wrong way round."""
    images, labels = np.concatenate([anomalies(3), normals(12)]), [1] * 3 + [0] * 12
    expected = clone(frozen).fit(normals(12)).anomaly_scores(images)
    np.testing.assert_array_equal(frozen.fit(images, labels).anomaly_scores(images), expected)
    with pytest.raises(UsageError, match=r"`y` must hold 0 .* got the labels \[-1, 1\]"):
        frozen.fit(images, [-1] * 3 + [1] * 12)
    with pytest.raises(UsageError, match=r"each of 15 images; got shape \(2,\)"):
        frozen.score(images, [0, 1])


def left_side(images: np.ndarray) -> np.ndarray:
    return images[:, :, :16]


def test_a_pipeline_prepares_images(frozen: PandaDetector) -> None:
    """An estimator that a pipeline refuses, or whose methods do not pass through it."""
    pipeline = Pipeline([("crop", FunctionTransformer(left_side)), ("detect", frozen)])
    pipeline.set_params(detect__image_size=48).fit(normals(20))
    alone = clone(frozen).fit(left_side(normals(20)))
    for name in ("predict", "decision_function", "score_samples"):
        expected = getattr(alone, name)(left_side(anomalies(5)))
        np.testing.assert_array_equal(getattr(pipeline, name)(anomalies(5)), expected)
    assert pipeline.score(np.concatenate([normals(5, seed=2), anomalies(5)]), [0] * 5 + [1] * 5) == 1.0


@pytest.fixture
def turned(tiny_backbone: str) -> tuple[np.ndarray, np.ndarray]:
    """Return 48 images, a quarter of them anomalous, and their labels, in a drawn order."""
    images, labels = np.concatenate([normals(36), anomalies(12)]), np.repeat([0, 1], [36, 12])
    order = np.random.default_rng(1).permutation(48)
    return images[order], labels[order]


def test_cross_validation_measures(frozen: PandaDetector, turned: tuple[np.ndarray, np.ndarray]) -> None:
    """An AUROC the wrong way round, from a sign that the scorer and the detector understand differently."""
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    assert cross_val_score(frozen, *turned, cv=folds, error_score="raise").tolist() == [1.0, 1.0, 1.0]
    accuracy = cross_val_score(frozen, *turned, cv=folds, scoring="balanced_accuracy", error_score="raise")
    assert (accuracy > 0.75).all()
    inverted = cross_val_score(frozen, *turned, cv=folds, scoring="roc_auc", error_score="raise")
    assert inverted.tolist() == [0.0, 0.0, 0.0], "`decision_function` says that this happens"


def test_a_grid_search_chooses(
    tiny_backbone: str, turned: tuple[np.ndarray, np.ndarray], paths_of: Callable[..., list[str]]
) -> None:
    """Settings that a search cannot set; a search over paths, which are no numbers."""
    images, labels = turned
    search = GridSearchCV(
        PandaDetector(recipe="frozen", backbone=tiny_backbone, image_size=32, device="cpu"),
        {"scorer": ["knn", "mean"], "set": [None]},
        cv=StratifiedKFold(2),
        error_score="raise",
    ).fit(paths_of(images), labels)
    assert search.best_score_ == 1.0
    assert search.best_estimator_.predict(anomalies(3)).tolist() == [1, 1, 1]


@pytest.fixture
def paths_of(tmp_path: Path) -> Callable[[np.ndarray], list[str]]:
    """Return a function that writes images as files and gives their paths."""

    def written(images: np.ndarray) -> list[str]:
        write(tmp_path / "written", images)
        return [str(path) for path in sorted((tmp_path / "written").iterdir())]

    return written
