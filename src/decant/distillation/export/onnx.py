"""A finished network as files for ONNX Runtime: in fp32, and with weights and activations of 8 bits."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx as onnx_format
import torch
from onnx import ModelProto
from onnxscript import optimizer
from torch import nn
from transformers import PreTrainedModel

from decant.core.errors import UserError
from decant.dataset.modality import Batch, Encoder, Row

OPSET = 20
"""Of ONNX: the first whose GELU is one operator."""


class Logits(nn.Module):
    """A network as the exporter wants it: tensors in, in the order of `names`, and logits (B, C) out."""

    def __init__(self, network: PreTrainedModel, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Logits (B, C), float32."""
        return self.network(**dict(zip(self.names, inputs, strict=True))).logits.float()


def convolutional(network: PreTrainedModel) -> bool:
    """Whether `static_int8` is for it, else `dynamic_int8`: it has convolutions beside the one that cuts patches."""
    return sum(isinstance(m, nn.Conv2d) for m in network.modules()) > 1


def export_onnx(network: PreTrainedModel, encoder: Encoder, example: Sequence[Row], file: Path) -> None:
    """Write `network` as ONNX, equal bytes for equal weights.

    Inputs are called as the `encoder` calls them, of any batch size B and, for texts, any length; the output is
    `logits` (B, C), float32. `example`: one row or more.

    Raises:
        UserError: the network cannot be exported.
    """
    batch = encoder.inputs(encoder.collate([*example[:2], *example[:1]]))  # not 1: a size of 1 is taken for a constant
    try:
        with quiet():
            model = exported(network, batch)
    except Exception as error:
        # the exporter raises whatever the network's code and its own raise
        raise UserError(
            f"{type(network).__name__} cannot be exported to ONNX: {type(error).__name__}: {first_line(error)}; choose "
            "another student, or make its forward one that torch.export takes, whatever the size of a batch"
        ) from error
    save(model, file)


def exported(network: PreTrainedModel, batch: Batch) -> ModelProto:
    """The graph of `network`, with sizes of `batch` (B, T) or (B, 3, R, R) left open."""
    network = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    for module in network.modules():
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation is not None:
            module.config._attn_implementation = "eager"  # fewer operators than what SDPA becomes
    axes = {0: torch.export.Dim("batch")}
    shapes = {k: axes if v.dim() == 4 else axes | {1: torch.export.Dim("tokens")} for k, v in batch.items()}
    program = torch.onnx.export(
        Logits(network, list(batch)).eval(),
        tuple(v.contiguous() for v in batch.values()),
        input_names=list(batch),
        output_names=["logits"],
        dynamic_shapes=(tuple(shapes.values()),),
        opset_version=OPSET,
        dynamo=True,
    )
    assert program is not None
    optimizer.optimize_ir(program.model, input_size_limit=2**31, output_size_limit=2**31)
    model = program.model_proto
    for given in model.graph.input:
        fixed = [d.dim_value for d in given.type.tensor_type.shape.dim if not d.dim_param]
        if len(fixed) != batch[given.name].dim() - len(shapes[given.name]):
            raise ValueError(f"its code fixes a size of {given.name}, as len() of a tensor and chunk() do")
    return model


def save(model: ModelProto, file: Path) -> None:
    """Write a graph without what only debugging needs, some of which is of this machine: traces, notes, shapes."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")  # stale after a rewrite, and then refused
    onnx_format.checker.check_model(model, full_check=True)
    file.write_bytes(model.SerializeToString(deterministic=True))


def arrays(batch: Batch) -> dict[str, np.ndarray]:
    """A batch as ONNX Runtime takes it."""
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in batch.items()}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what exporter and quantiser print, log and warn of."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def first_line(error: Exception) -> str:
    """What the innermost cause says, in one line."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return str(cause).strip().split("\n")[0]
