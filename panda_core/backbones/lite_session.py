"""EfficientNet-Lite where no gradient is asked for: by onnxruntime, on the processor.

It takes half of PyTorch's time (ms of one thread an image, at 128 px: the trunk 2.7 against 4.9, the tail 1.5 against
2.9; four levels of maps at 224 px 11 against 18), and an image has the same values alone as among others, to the bit;
PyTorch's differ in the last digits. Both agree to about 1e-6 of the largest value.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET, IR = 17, 8
# Pixels that go through a session together: 4 images of 224 px. More leave the processor's cache.
PIXELS = 4 * 224 * 224


class Traced:
    """A value (B, C, h, w) or (B, C) of a graph that is being written; layers are walked with it as with a tensor."""

    def __init__(self, graph: _Graph, name: str) -> None:
        self.graph, self.name = graph, name

    def convolved(self, weight: Tensor, bias: Tensor, stride: int, groups: int, *, relu6: bool) -> Traced:
        """Return this through a convolution that pads as TensorFlow's "SAME", and a ReLU6 where one is asked for."""
        kept = [self.graph.keep(weight), self.graph.keep(bias)]
        sides = list(weight.shape[2:])
        given = {"kernel_shape": sides, "strides": [stride, stride], "group": groups, "auto_pad": "SAME_UPPER"}
        y = self.graph.add("Conv", [self.name, *kept], **given)
        return self.graph.add("Clip", [y.name, *self.graph.six()]) if relu6 else y

    def __add__(self, other: Traced) -> Traced:
        return self.graph.add("Add", [self.name, other.name])

    def mean(self, dim: tuple[int, int]) -> Traced:
        """Return the mean (B, C) over all places, as a tensor's `mean(dim=(2, 3))`."""
        if dim != (2, 3):
            raise ValueError(f"A graph takes means over places, (2, 3); got {dim}.")
        pooled = self.graph.add("GlobalAveragePool", [self.name])
        return self.graph.add("Flatten", [pooled.name], axis=1)


class _Graph:
    """Nodes and constants, as they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> Traced:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return Traced(self, name)

    def keep(self, value: Tensor) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(value.detach().contiguous().numpy(), name)
        return name

    def six(self) -> tuple[str, str]:
        """Return the names of the two bounds of a ReLU6."""
        for name, value in (("zero", 0.0), ("six", 6.0)):
            self.constants[name] = numpy_helper.from_array(np.array(value, np.float32), name)
        return "zero", "six"


class Sessions:
    """What a part of a network was written as, by the names of its outputs, for as long as its weights stay the same.

    A copy of it, deep or pickled, is empty: it belongs to other weights.
    """

    def __init__(self) -> None:
        self.weights: list[tuple[dict[str, Tensor | None], str, Tensor, int]] = []  # where each is, itself, its version
        self.written: dict[Sequence[str], onnxruntime.InferenceSession] = {}
        self.lock = threading.Lock()  # of writing; a session runs in several threads at once

    def __deepcopy__(self, memo: object) -> Sessions:
        return Sessions()

    def __reduce__(self) -> tuple[type[Sessions], tuple[()]]:
        return Sessions, ()

    def run(
        self, module: nn.Module, walk: Callable[[Any], list[Any]], x: Tensor, outputs: Sequence[str]
    ) -> list[Tensor]:
        """Return what `walk`, which goes through layers of `module`, makes of images or activations (B, C, h, w)."""
        with self.lock:
            if not self._unchanged():
                self.weights, self.written = _weights_of(module), {}
            if outputs not in self.written:
                self.written[outputs] = _session(walk)
            session = self.written[outputs]
        given = x.contiguous().numpy()
        together = max(1, PIXELS // (x.shape[2] * x.shape[3]))
        parts = [session.run(None, {"x": given[start : start + together]}) for start in range(0, len(given), together)]
        return [torch.from_numpy(np.concatenate(same)) for same in zip(*parts, strict=True)]

    def _unchanged(self) -> bool:
        """Return whether all weights are those that were written, with the values of then."""
        return bool(self.weights) and all(
            owner.get(name) is value and value._version == version for owner, name, value, version in self.weights
        )


def _weights_of(module: nn.Module) -> list[tuple[dict[str, Tensor | None], str, Tensor, int]]:
    """Return where each weight of a module is kept, the weight and how often it was changed; none if that is unknown.

    To walk through all modules takes longer than to compute a small image, so it is done once.
    """
    owners: list[Any] = [owner for part in module.modules() for owner in (part._parameters, part._buffers)]
    found = [(owner, name, value) for owner in owners for name, value in owner.items() if value is not None]
    if any(value.is_inference() for _, _, value in found):
        return []  # such tensors do not count their changes: the graph is then written each time
    return [(owner, name, value, value._version) for owner, name, value in found]


def takes(x: Any) -> bool:
    """Return whether a session may run on `x`: on a processor, in float32, without gradients, not while exported."""
    return (
        type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and len(x) > 0
        and not torch.is_grad_enabled()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined]
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    )


@torch.no_grad()
def _session(walk: Callable[[Any], list[Any]]) -> onnxruntime.InferenceSession:
    """Return the session of the layers that `walk` goes through."""
    graph = _Graph()
    found = [value.name for value in walk(Traced(graph, "x"))]
    written = helper.make_graph(
        graph.nodes,
        "lite",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", "C", "h", "w"])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in found],
        list(graph.constants.values()),
    )
    model = helper.make_model(written, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: the rest goes to the terminal past every setting of Python
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it takes the cores from PyTorch's turn
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
