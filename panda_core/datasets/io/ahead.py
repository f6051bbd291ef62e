"""Images in order, decoded in threads while those before are computed with."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from panda_core.errors import UnreadableImage

PIXELS = 16_000_000  # of what waits, together: 64 images of 500 x 500, or one photo
MOST = 64  # images that wait
THREADS = max(1, (os.cpu_count() or 1) // 4)  # a network on a GPU is as fast as several decode; on a few cores as one

Key = TypeVar("Key")
Decoded = np.ndarray | UnreadableImage


def decoded_ahead(
    decode: Callable[[Key], np.ndarray], keys: Iterable[Key]
) -> Generator[tuple[Key, Decoded], None, None]:
    """Yield each key with what `decode` makes of it, (H, W, ...), or why nothing can be made, in order.

    Those that follow are decoded meanwhile, no more than `MOST` and `PIXELS`, so that memory does not grow with the
    number of images. `decode` is called from several threads. Any other error than `UnreadableImage` is raised in its
    turn; where this is closed on the way, nothing more is decoded.
    """
    remaining = iter(keys)
    waiting: deque[tuple[Key, Future[Decoded]]] = deque()

    def attempt(key: Key) -> Decoded:
        try:
            return decode(key)
        except UnreadableImage as error:
            return error

    def fill(room: int) -> None:
        for key in itertools.islice(remaining, max(0, room - len(waiting))):
            waiting.append((key, pool.submit(attempt, key)))

    with ThreadPoolExecutor(THREADS) as pool:
        room = 1
        try:
            fill(room)
            while waiting:
                key, future = waiting.popleft()
                decoded = future.result()
                if isinstance(decoded, np.ndarray):
                    room = max(1, min(MOST, PIXELS // max(1, decoded.shape[0] * decoded.shape[1])))
                fill(room)
                yield key, decoded
        finally:
            pool.shutdown(cancel_futures=True)
