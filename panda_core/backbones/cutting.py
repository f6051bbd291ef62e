"""Cutting any traceable network at a named module."""

from __future__ import annotations

from torch import Tensor, fx, nn

from panda_core.backbones.network import INPUT
from panda_core.errors import UsageError


class _WholeNetwork(nn.Module):
    """Images to pooled features, as one forward pass to trace."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        features = self.network.forward_features(x)  # type: ignore[operator]
        return self.network.forward_head(features, pre_logits=True)  # type: ignore[operator]


class _StageTracer(fx.Tracer):
    """Keep every module whole but those that contain the cut, so that no control flow inside a stage is traced."""

    def __init__(self, cut: str) -> None:
        super().__init__()
        self.cut = cut

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not self.cut.startswith(module_qualified_name + ".")


def split(network: nn.Module, cut: str, *, channels_last: bool = False) -> tuple[nn.Module, nn.Module]:
    """Return (trunk, tail): the graph of `network` up to and with module `cut`, and the rest; `input`: all is tail.

    tail(trunk(x)) equals forward_head(forward_features(x), pre_logits=True). channels_last: whether `cut` gives
    (B, h, w, C), as a Swin's stages do; the trunk hands on (B, C, h, w) all the same. `UsageError` where `cut` is no
    module of the pass, or where later stages also use activations from before it.
    """
    whole = _WholeNetwork(network)
    if cut == INPUT:
        return nn.Identity(), whole
    target = f"network.{cut}"
    try:
        graph = _StageTracer(target).trace(whole)
    except Exception as error:  # tracing fails in as many ways as there are networks
        raise UsageError(f"This network cannot be cut at `{cut}`: {error}. Choose another `--backbone`.") from error
    nodes = list(graph.nodes)
    calls = [number for number, node in enumerate(nodes) if node.op == "call_module" and node.target == target]
    if not calls:
        stages = [str(node.target).removeprefix("network.") for node in nodes if node.op == "call_module"]
        raise UsageError(f"No stage `{cut}` in this network; known: {', '.join(stages)}. Set `--set cut=NAME`.")
    end = calls[-1]
    crossing = {
        source
        for node in nodes[end + 1 :]
        for source in node.all_input_nodes
        if nodes.index(source) <= end and source.op != "get_attr"
    }
    if crossing != {nodes[end]}:
        raise UsageError(f"Stages after `{cut}` also use earlier activations. Set `--set cut=NAME` to a later stage.")

    trunk_graph, tail_graph = fx.Graph(), fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in nodes[: end + 1]:
        copied[node] = trunk_graph.node_copy(node, copied.__getitem__)
    last, handed_on = copied[nodes[end]], tail_graph.placeholder("activations")
    if channels_last:
        last = trunk_graph.call_method("permute", (last, 0, 3, 1, 2))
    trunk_graph.output(last)
    own_layout = tail_graph.call_method("permute", (handed_on, 0, 2, 3, 1)) if channels_last else handed_on
    moved: dict[fx.Node, fx.Node] = {nodes[end]: own_layout}
    for node in nodes[end + 1 :]:
        if node.op == "output":
            tail_graph.output(moved[node.args[0]])
        else:
            moved[node] = tail_graph.node_copy(node, moved.__getitem__)
    return fx.GraphModule(whole, trunk_graph), fx.GraphModule(whole, tail_graph)
