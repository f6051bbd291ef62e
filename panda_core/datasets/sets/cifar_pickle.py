"""The batch files of CIFAR, read as data: no name in the pickle is ever looked up or called.

They are pickles of Python 2 and of an old NumPy (https://www.cs.toronto.edu/~kriz/cifar.html); copies saved again by
Python 3 are read too. Every global that such a file mentions is exchanged for a record that only keeps what it is
given; any other global is refused. The array is then built here from the recorded bytes, so that a hostile file
reaches neither NumPy nor anything else.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from panda_core.errors import DataMissing, UsageError

SIDE, CHANNELS = 32, 3
LARGEST_FILE = 400_000_000  # bytes; the largest official one, CIFAR-100's `train`, has 155 MB


class _Array:
    """Stands for a NumPy array: `state` is (version, shape, dtype, in Fortran order, bytes)."""

    def __init__(self, *arguments: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _BufferedArray(_Array):
    """The same as Python 3.8 and later write it: of (bytes, dtype, shape, order)."""

    def __init__(self, content: object, dtype: object, shape: object, order: object) -> None:
        self.state = (1, shape, dtype, order == "F", bytes(content) if isinstance(content, bytearray) else content)


class _Encoded:
    """Gives the bytes that Python 3 wrote as text, having no other way in the protocol of Python 2."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        return str(text).encode("latin-1")

    def __setstate__(self, state: object) -> None:
        """Take no state, so that a file cannot set attributes of this class."""


class _Dtype:
    """Stands for a NumPy dtype: `code` is like b"u1"."""

    def __init__(self, code: object = b"", *flags: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and field names mean nothing for single bytes."""


class _DataOnly(pickle.Unpickler):
    records: ClassVar[dict[tuple[str, str], type]] = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy.core.numeric", "_frombuffer"): _BufferedArray,
        ("numpy._core.numeric", "_frombuffer"): _BufferedArray,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
        ("_codecs", "encode"): _Encoded,
    }

    def find_class(self, module: str, name: str) -> type:
        """Return the record that stands for `module.name`; refuse a global that a batch has no use for."""
        if (module, name) not in self.records:
            raise pickle.UnpicklingError(f"it asks for `{module}.{name}`")
        return self.records[module, name]


def read_cifar_batch(path: Path, *label_keys: tuple[str, int]) -> tuple[np.ndarray, np.ndarray, str]:
    """Return (images, labels, their key) of one file: uint8 (N, 32, 32, 3), RGB; int64 (N,); the first key it has.

    label_keys: (key, number of classes), in order of preference: `labels` in CIFAR-10; in CIFAR-100 `coarse_labels`
    and `fine_labels`.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"it has more than {LARGEST_FILE // 1_000_000} MB")
        with open(path, "rb") as file:
            batch = _DataOnly(file, encoding="bytes").load()
        fields = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        label_key, class_count = next((pair for pair in label_keys if pair[0] in fields), label_keys[0])
        images, labels = _images(fields["data"]), np.array(fields[label_key], dtype=np.int64)
        if labels.shape != (len(images),) or not np.isin(labels, range(class_count)).all():
            raise ValueError(f"`{label_key}` must be {len(images)} numbers in [0, {class_count - 1}]")
        return images, labels, label_key
    except FileNotFoundError as error:
        raise DataMissing(f"`{path}` does not exist. Unpack the official archive again.") from error
    except KeyError as error:
        raise _refused(path, f"it has no entry {error}") from error
    except Exception as error:  # a damaged pickle can end in nearly any exception
        raise _refused(path, str(error)) from error


def _images(data: object) -> np.ndarray:
    """Return the planes of a recorded array, (N, 3072), as uint8 (N, 32, 32, 3)."""
    _, shape, dtype, fortran_order, content = getattr(data, "state", None) or (None,) * 5
    width = CHANNELS * SIDE * SIDE
    if not (isinstance(content, bytes) and isinstance(dtype, _Dtype) and dtype.code in (b"u1", "u1")):
        raise ValueError("`data` must be an array of uint8")
    if not (isinstance(shape, tuple) and shape == (len(content) // width, width) and len(content) % width == 0):
        raise ValueError(f"`data` must have the shape (N, {width})")
    flat = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran_order else "C")
    planes = flat.reshape(-1, CHANNELS, SIDE, SIDE)  # a row is all of red, then green, then blue
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))  # (N, 32, 32, 3)


def _refused(path: Path, reason: str) -> UsageError:
    return UsageError(f"`{path}` is no CIFAR batch: {reason}. Replace it by the file from the official archive.")
