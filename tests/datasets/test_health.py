"""The health check: faults and copies planted into sound data must be found, named and graded, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from panda_core.datasets import ArrayImages, FileImages, OneClassTask, find_dataset, folder_dataset, one_class_task
from panda_core.datasets.copies import Fingerprint, find_copies, group_copies
from panda_core.datasets.finding import Finding
from panda_core.datasets.health import Health, check_health, perceptual_hash
from panda_core.datasets.io.regions import task_within
from panda_core.events import result_of
from panda_core.region import Region

Write = Callable[..., None]


def scene(seed: int, size: tuple[int, int] = (48, 40)) -> np.ndarray:
    """Return a colourful picture of soft patches, (H, W, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def checked(train: list[np.ndarray], test: list[np.ndarray], anomalies: int) -> dict[str, Finding]:
    """Return the findings by kind; the last `anomalies` test images are anomalous."""
    halves = [ArrayImages(half, [f"i{row}" for row in range(len(half))]) for half in (train, test)]
    is_anomaly = np.arange(len(test)) >= len(test) - anomalies
    progress: list[Any] = []
    health = result_of(check_health(OneClassTask(halves[0], halves[1], is_anomaly.astype(np.uint8))), progress.append)
    assert [event.done for event in progress] == list(range(1, len(progress) + 1))
    assert {event.total for event in progress} <= {len(train) + len(test)}
    assert len(progress) == health.train + health.test
    assert health.level == (health.findings[0].level if health.findings else "")
    levels = [("problem", "warning", "note").index(finding.level) for finding in health.findings]
    assert levels == sorted(levels)
    return {finding.kind: finding for finding in health.findings}


@pytest.fixture
def sound() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return 25 training and 50 test images, of which the last 25 are taken as anomalous."""
    return [scene(row) for row in range(25)], [scene(100 + row) for row in range(50)]


def test_sound_data_is_not_complained_about(sound: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    """Guards: alarms about chance likeness, which teach people to pass over all of them."""
    assert checked(*sound, anomalies=25) == {}


def test_equal_images_are_told_by_where_they_are(sound: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    """Guards: a copy in the test set passed over; a copy within one half called a leak; labels that contradict."""
    train, test = sound
    test[3], test[4], train[7] = train[2], test[5], train[6]
    found = checked(train, test, anomalies=25)
    assert set(found) == {"in_both", "repeated", "copies"}
    assert found["in_both"].level == "problem" and found["in_both"].examples == (("train: i2", "test: i3"),)
    assert found["repeated"].examples == (("test: i4", "test: i5"),)
    assert found["copies"].examples == (("train: i6", "train: i7"),) and found["copies"].level == "warning"
    test[49] = train[2]
    found = checked(train, test, anomalies=25)
    assert found["contradicted"].level == "problem" and found["contradicted"].count == 1
    assert set(found["contradicted"].examples[0]) == {"train: i2", "test: i3", "test: i49"}


@pytest.mark.parametrize("way", ["darker", "smaller", "compressed", "noisy"])
def test_nearly_equal_images_are_found(way: str, sound: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    """Guards: a picture saved again, or taken with another exposure, that counts as a new one."""
    train, test = sound
    image = train[9]
    changed = {
        "darker": (image * 0.6).astype(np.uint8),
        "smaller": cv2.resize(image, (30, 36), interpolation=cv2.INTER_AREA),
        "compressed": cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR),
        "noisy": np.clip(image + np.random.default_rng(0).normal(0, 8, image.shape), 0, 255).astype(np.uint8),
    }
    test[30] = changed[way]
    found = checked(train, test, anomalies=25)
    assert found["nearly_in_both"].examples == (("train: i9", "test: i30"),)
    assert found["nearly_in_both"].level == "warning" and "in_both" not in found


def test_the_hash_against_a_slow_twin() -> None:
    """Guards: a transform along one axis only, the mean brightness among the bits, bits in another order."""
    grey = cv2.cvtColor(scene(3, (32, 32)), cv2.COLOR_RGB2GRAY)
    place = np.arange(32)
    basis = (
        np.cos(np.pi * np.outer(np.arange(8), 2 * place + 1) / 64) * np.where(np.arange(8) == 0, 2**-0.5, 1)[:, None]
    )
    low = (basis @ grey.astype(float) @ basis.T).ravel()[1:]
    expected = sum(1 << (62 - bit) for bit in range(63) if low[bit] > np.median(low))
    assert bin(perceptual_hash(grey) ^ expected).count("1") <= 1  # the median itself is rounded
    assert perceptual_hash(cv2.convertScaleAbs(grey, alpha=0.5)) ^ expected < 1 << 63


def test_broken_files_are_named(tmp_path: Path, write_images: Write) -> None:
    """Guards: one bad file that stops the check, or is counted as sound."""
    for split, first in (("train", 0), ("test", 100)):
        (tmp_path / split).mkdir()
        for row in range(25):
            Image.fromarray(scene(first + row)).save(tmp_path / split / f"{row:02d}.png")
    (tmp_path / "test" / "07.png").write_bytes(b"")
    names = [f"{row:02d}.png" for row in range(25)]
    halves = [FileImages.below(tmp_path / split, names) for split in ("train", "test")]
    health = result_of(check_health(OneClassTask(halves[0], halves[1], (np.arange(25) % 2).astype(np.uint8))))
    found = {finding.kind: finding for finding in health.findings}
    assert set(found) == {"broken", "few_normal", "few_anomalous"} and found["broken"].count == 1
    assert found["broken"].examples == (("test: 07.png", "`07.png` cannot be read: the file is empty."),)
    assert "11 anomalous" in found["few_anomalous"].told  # the broken one is no longer counted


def test_too_few_images() -> None:
    """Guards: an AUROC of five normals taken at its word; a missing class called a fault."""
    found = checked([scene(row) for row in range(19)], [scene(50 + row) for row in range(24)], anomalies=19)
    assert set(found) == {"few_train", "few_normal", "few_anomalous"} and found["few_normal"].count == 5
    found = checked([scene(0)], [scene(row) for row in range(50, 72)], anomalies=0)
    assert found["few_train"].level == "problem"
    assert found["no_anomalous"].level == "note" and "few_normal" not in found
    assert set(checked([], [], anomalies=0)) == {"few_train", "no_normal", "no_anomalous"}


def test_sizes_and_colours_that_tell_the_label(sound: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    """Guards: a test set solved by the size or the colour of its files; mixed ones called a fault of that kind."""
    train, test = sound
    grey = [np.repeat(image[..., :1], 3, axis=2) for image in test[25:]]
    found = checked(train, test[:25] + grey, anomalies=25)
    assert set(found) == {"colour_tells"} and found["colour_tells"].level == "problem"
    found = checked(train, [*test[:24], grey[0], *test[25:49], grey[24]], anomalies=25)
    assert set(found) == {"mixed_colours"} and found["mixed_colours"].examples == (("test: i24",), ("test: i49",))
    large = [scene(300 + row, (96, 80)) for row in range(25)]
    found = checked(train, test[:25] + large, anomalies=25)
    assert set(found) == {"size_tells"} and found["size_tells"].level == "problem"
    assert "from 40 x 48 to 80 x 96" in found["size_tells"].told
    found = checked(train, test[:24] + large[:1] + test[25:49] + large[1:2], anomalies=25)
    assert set(found) == {"mixed_sizes"} and found["mixed_sizes"].level == "note"


def test_plain_images_are_not_alike(sound: tuple[list[np.ndarray], list[np.ndarray]]) -> None:
    """Guards: blank sheets, whose hashes are noise, called one another's copies."""
    rng = np.random.default_rng(0)
    plain = [np.clip(rng.normal(200, 0.4, (48, 40, 3)), 0, 255).astype(np.uint8) for _ in range(50)]
    assert "nearly_in_both" not in checked(sound[0] + plain[:25], sound[1] + plain[25:], anomalies=10)


def test_digits_in_order() -> None:
    """Guards: a bundled data set that turns out to hold copies, and 8 x 8 pixels that break the hash."""
    splits = find_dataset("digits").open(Path("/nowhere"), "8", 0)
    task = one_class_task(splits, train_limit=None, test_limit=None, seed=0)
    health = result_of(check_health(task))
    assert isinstance(health, Health) and health.level in ("", "warning", "note")


def test_files_that_take_no_part_are_counted_and_named(tmp_path: Path) -> None:
    """Guards: formats that vanish, masks dropped or unusable, second frames and dark 16-bit pictures: not a word."""
    for row in range(40):
        place = tmp_path / ("good" if row < 30 else "hole") / f"{row:02d}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(scene(row)).save(place)
    Image.fromarray(scene(40)).save(
        tmp_path / "good" / "40.gif", save_all=True, append_images=[Image.fromarray(scene(41))]
    )
    dark = scene(42)[..., 0].astype(np.uint16) * 12 + 100
    Image.fromarray(dark).save(tmp_path / "good" / "42.tif")
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down: the sides stay
    Image.fromarray(scene(30)).save(tmp_path / "hole" / "30.png", exif=turned)
    (tmp_path / "good" / "phone.HEIC").write_bytes(b"x")
    (tmp_path / "good" / "notes.txt").write_text("x")
    (tmp_path / "masks").mkdir()
    spot = np.zeros((48, 40), np.uint8)
    spot[3:9, 3:9] = 255
    for name, mask in (("30", spot), ("31_gt", 255 - spot), ("32", spot[:24]), ("33", spot * 0), ("99", spot)):
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    task = one_class_task(folder_dataset(tmp_path).open(tmp_path, "good", 0), train_limit=None, test_limit=None, seed=0)
    health = result_of(check_health(task))
    found = {finding.kind: finding for finding in health.findings}
    left_out = dict(found["left_out"].examples)  # type: ignore[arg-type]
    assert left_out == {
        "masks/99.png": "no image is named like it; name it as its image, with `_mask` at the end",
        "good/phone.HEIC": "`.heic` files are not read; save it as PNG or JPEG",
    }
    assert found["left_out"].level == "warning" and found["left_out"].has_reasons
    unused = dict(found["masks_unused"].examples)  # type: ignore[arg-type]
    assert list(unused) == ["test: hole/31.png", "test: hole/32.png", "test: hole/33.png"]
    for name, reason in zip(unused, ("inverted", "not the same shape", "black all over"), strict=True):
        assert reason in unused[name]
    assert found["no_mask"].count == 6 and "6 of 10 anomalous images have no mask" in found["no_mask"].told
    assert found["turned"].examples == (("test: hole/30.png",),) and "as it is shown" in found["turned"].told
    assert found["frames"].count == 1
    assert "1 image of more than 8 bits use" in found["narrow_range"].told
    assert "--set range=data" in found["narrow_range"].told


def part(seed: int, side: int = 128) -> np.ndarray:
    """Return a plate with a ring and grain: parts of one make differ in grain, light and by a pixel or two."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] * (128 / side)
    grey = 150 + 12 * np.sin(x / 9 + rng.uniform(0, 6)) + 8 * np.cos(y / 7 + rng.uniform(0, 6)) + rng.normal(0, 3)
    grey[np.abs(np.hypot(x - 64 - rng.normal(), y - 64 - rng.normal()) - 40) < 5] -= 50
    grey += cv2.GaussianBlur(rng.normal(0, 5, (side, side)), (0, 0), 0.7)
    return np.clip(grey[:, :, None] * (1, 0.95, 0.9), 0, 255).astype(np.uint8)


def encoded(image: np.ndarray, form: str, **options: int) -> np.ndarray:
    held = io.BytesIO()
    Image.fromarray(image).save(held, form, **options)
    return np.asarray(Image.open(held).convert("RGB"))


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the same": np.copy,
    "JPEG 90": lambda image: encoded(image, "JPEG", quality=90),
    "JPEG 60": lambda image: encoded(image, "JPEG", quality=60),
    "WebP": lambda image: encoded(image, "WEBP", quality=80),
    "AVIF": lambda image: encoded(image, "AVIF", quality=70),
    "half": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "burst": lambda image: np.clip(image + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255).astype(np.uint8),
}


def copies_of(images: list[np.ndarray]) -> list[tuple[int, ...]]:
    return find_copies(ArrayImages(images, [f"i{row}" for row in range(len(images))]))


@pytest.mark.parametrize("side", [64, 128, 300])
@pytest.mark.parametrize("way", WAYS)
def test_a_picture_saved_anew_is_a_copy(way: str, side: int) -> None:
    """Guards: ` (1).png`, another quality or a burst, whose twin is held out and sets the threshold too low."""
    parts = [part(seed, side) for seed in range(16)]
    copies = [WAYS[way](parts[row]) for row in (3, 3, 7)]
    assert copies_of([*parts, *copies]) == [(3, 16, 17), (7, 18)]


@pytest.mark.parametrize("side", [32, 64, 128, 300])
def test_parts_of_one_make_are_no_copies(side: int) -> None:
    """Guards: a set of like parts called one another's copies, of which one would be left."""
    assert copies_of([part(seed, side) for seed in range(40)]) == []


def test_very_even_parts_are_copies_only_if_equal() -> None:
    """Guards: parts that differ by noise alone: none stands out, so none is a copy but where all pixels are equal."""
    rng = np.random.default_rng(0)
    even = [np.clip(rng.normal(90, 8, (128, 128, 3)), 0, 255).astype(np.uint8) for _ in range(20)]
    assert copies_of([*even, even[4]]) == [(4, 20)]
    assert copies_of([even[0]] * 3) == [(0, 1, 2)]


def test_another_colour_of_the_same_grey_is_another_thing() -> None:
    """Guards: red and green parts of one brightness taken for one."""
    parts = [part(seed) for seed in range(8)]
    red = parts[0].astype(int) + np.array((30, -15, 0))
    assert copies_of([*parts, np.clip(red, 0, 255).astype(np.uint8)]) == []


def test_nothing_and_one_image_have_no_copies() -> None:
    """Guards: a table of no rows."""
    assert copies_of([]) == copies_of([part(0)]) == []


def test_groups_do_not_depend_on_how_distances_are_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: pairs across two blocks missed; rows counted from the start of their block."""
    rng = np.random.default_rng(1)
    grey = rng.normal(100, 20, (50, 1024)).astype(np.float32)
    grey[[30, 49]] = grey[[2, 17]] + 0.1
    prints = [Fingerprint(bytes([row]), one, np.zeros(3), 200) for row, one in enumerate(grey)]
    assert group_copies(prints) == [(2, 30), (17, 49)]
    monkeypatch.setattr("panda_core.datasets.copies.STRIDE", 7)
    assert group_copies(prints) == [(2, 30), (17, 49)]


def test_inside_of_a_region_the_paint_around_is_no_colour() -> None:
    """Grey parts that the paint makes colourful; a hand beside some of them taken for what they are."""
    marked = np.zeros((48, 40), bool)
    marked[10:40, 5:25] = True
    grey = [np.repeat(scene(row)[..., :1], 3, axis=2) for row in range(76)]
    for image in grey[::2]:
        image[:, 30:] = (200, 20, 20)
    odd = np.zeros((40, 48, 3), np.uint8)
    train = ArrayImages([*grey[:25], odd], [f"i{row}" for row in range(26)])
    test = ArrayImages(grey[25:75], [f"t{row}" for row in range(50)])
    task = OneClassTask(train, test, (np.arange(50) >= 25).astype(np.uint8))
    kinds = {finding.kind: finding for finding in result_of(check_health(task)).findings}
    assert "mixed_colours" in kinds and "broken" not in kinds
    inside = {finding.kind: finding for finding in result_of(check_health(task_within(task, Region(marked)))).findings}
    assert set(inside) == {"broken"} and "not the same shape" in inside["broken"].examples[0][1]
