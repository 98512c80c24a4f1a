"""A network as an ONNX graph in fp32, equal bytes for equal weights."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from onnxscript import optimizer
from torch import nn
from transformers import PreTrainedModel

from decant.core.errors import UserError
from decant.dataset.modality import Batch, Encoder, Row

OPSET = 20
"""The first opset in which GELU is one operator."""
SIZE_LIMIT = 2**31
"""Bytes of constants that the optimizer may fold: all."""


class LogitsOnly(nn.Module):
    """A network as the exporter needs it: tensors in, in the order of `names`, and logits (B, C) out."""

    def __init__(self, network: PreTrainedModel, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Logits (B, C), float32."""
        return self.network(**dict(zip(self.names, inputs, strict=True))).logits.float()


def export_onnx(network: PreTrainedModel, encoder: Encoder, example: Sequence[Row], file: Path) -> None:
    """Write `network` as ONNX.

    Inputs have the names that `encoder` gives them, any batch size B and, for texts, any length; the output is `logits`
    (B, C), float32. `example`: one row or more.

    Raises:
        UserError: the network cannot be exported.
    """
    # three rows: the exporter takes a batch size of 1 for a constant
    batch = encoder.inputs(encoder.collate([*example[:2], *example[:1]]))
    try:
        with silenced():
            model = onnx_graph(network, batch)
    except Exception as error:
        # the exporter raises its own errors and those of the network's code
        raise UserError(
            f"{type(network).__name__} cannot be exported to ONNX: {type(error).__name__}: {root_cause(error)}; choose "
            "another student, or make its forward one that torch.export takes, whatever the size of a batch"
        ) from error
    save_graph(model, file)


def onnx_graph(network: PreTrainedModel, batch: Batch) -> ModelProto:
    """The graph of `network`, with the sizes of `batch` (B, T) or (B, 3, R, R) left open."""
    network = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation is not None:
            module.config._attn_implementation = "eager"  # fewer operators than SDPA becomes
    axes = {0: torch.export.Dim("batch")}
    shapes = {k: axes if v.dim() == 4 else axes | {1: torch.export.Dim("tokens")} for k, v in batch.items()}
    program = torch.onnx.export(
        LogitsOnly(network, list(batch)).eval(),
        tuple(v.contiguous() for v in batch.values()),
        input_names=list(batch),
        output_names=["logits"],
        dynamic_shapes=(tuple(shapes.values()),),
        opset_version=OPSET,
        dynamo=True,
    )
    assert program is not None
    optimizer.optimize_ir(program.model, input_size_limit=SIZE_LIMIT, output_size_limit=SIZE_LIMIT)
    model = program.model_proto
    for graph_input in model.graph.input:
        fixed = [d.dim_value for d in graph_input.type.tensor_type.shape.dim if not d.dim_param]
        if len(fixed) != batch[graph_input.name].dim() - len(shapes[graph_input.name]):
            raise ValueError(f"its code fixes a size of {graph_input.name}, as len() of a tensor and chunk() do")
    return model


def save_graph(model: ModelProto, file: Path) -> None:
    """Write a graph without debugging information, some of which is of this machine: traces, notes, shapes."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")  # out of date after a rewrite, and then refused
    onnx.checker.check_model(model, full_check=True)
    file.write_bytes(model.SerializeToString(deterministic=True))


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Without the output, logs and warnings of exporter and quantiser."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def root_cause(error: Exception) -> str:
    """The first line of the innermost cause's message."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause).strip().split("\n")[0]
