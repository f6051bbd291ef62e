"""Images that are decoded ahead of those computed with."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panda_core.datasets.io import ahead
from panda_core.datasets.io.ahead import decoded_ahead
from panda_core.errors import UnreadableImage


@given(sides=st.lists(st.integers(0, 40), max_size=30), threads=st.integers(1, 4))
def test_what_comes_is_what_one_after_the_other_gives(sides: list[int], threads: int) -> None:
    def decode(row: int) -> np.ndarray:
        if sides[row] == 0:
            raise UnreadableImage(f"row {row}")
        return np.full((sides[row], 3, 3), row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead, "THREADS", threads)
        found = list(decoded_ahead(decode, range(len(sides))))
    assert [row for row, _ in found] == list(range(len(sides)))
    for row, image in found:
        if sides[row]:
            assert isinstance(image, np.ndarray) and np.array_equal(image, decode(row))
        else:
            assert isinstance(image, UnreadableImage) and str(image) == f"row {row}"


@pytest.mark.parametrize(("side", "most"), [(10, ahead.MOST), (4000, 1), (2000, 4)])
def test_few_large_images_wait_and_many_small_ones(side: int, most: int) -> None:
    """Memory that grows with the number of photos, where the network is slower than the decoder."""
    image, begun = np.broadcast_to(np.uint8(0), (side, side, 3)), []

    def decode(row: int) -> np.ndarray:
        begun.append(row)
        return image

    found = decoded_ahead(decode, iter(range(500)))
    taken = [next(found)[0] for _ in range(3)]
    deadline = time.monotonic() + 60
    while len(begun) < 3 + most and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    found.close()
    assert taken == [0, 1, 2]
    assert len(begun) == 3 + most


def test_it_decodes_while_its_reader_computes() -> None:
    second = threading.Event()

    def decode(row: int) -> np.ndarray:
        if row == 1:
            second.set()
        return np.zeros((1, 1, 3))

    found = decoded_ahead(decode, range(9))
    next(found)
    assert second.wait(60)
    found.close()


def test_another_error_is_raised_in_its_turn() -> None:
    def keys() -> Iterator[int]:
        yield from range(4)

    def decode(row: int) -> np.ndarray:
        if row == 2:
            raise ValueError("no image at all")
        return np.zeros((1, 1, 3))

    found = decoded_ahead(decode, keys())
    assert [next(found)[0], next(found)[0]] == [0, 1]
    with pytest.raises(ValueError, match="no image at all"):
        next(found)
