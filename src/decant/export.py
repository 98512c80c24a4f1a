"""A finished network as files for ONNX Runtime: in fp32, and with weights and activations of 8 bits."""

import contextlib
import copy
import io
import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx as onnx_format
import torch
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxscript import optimizer
from torch import nn
from transformers import PreTrainedModel

from decant import UserError
from decant.modality import Batch, Encoder, Row

OPSET = 20
"""Of ONNX: the first whose GELU is one operator."""
LARGE = 2048
"""Numbers of a table or constant from which on it is stored in 8 bits."""
DYNAMIC = ("MatMul", "LSTM")
"""Operators that compute in 8 bits; Gemm becomes MatMul. ConvInteger is many times slower than a convolution."""


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


def onnx(network: PreTrainedModel, encoder: Encoder, example: Sequence[Row], file: Path) -> None:
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


def dynamic_int8(source: Path, file: Path) -> None:
    """Write the graph `source` with weights of 8 bits, for transformers and LSTM; a quarter of the size.

    Activations are rounded as they come (Zafrir et al. 2019, arXiv:1910.06188): nothing is calibrated. Each output of
    a layer and each row of an embedding has a scale of its own.
    """
    model = onnx_format.load(source)
    embeddings_int8(model.graph)
    with quantised(model, file) as (before, after):
        quantization.quantize_dynamic(
            before, after, op_types_to_quantize=DYNAMIC, per_channel=True, weight_type=quantization.QuantType.QInt8
        )


def static_int8(source: Path, file: Path, batches: Iterable[dict[str, np.ndarray]]) -> None:
    """Write the graph `source` with weights and activations of 8 bits, for convolutional networks.

    Ranges of activations are those that `batches` of inputs reach (Jacob et al. 2018, arXiv:1712.05877). Each output
    channel has a scale of its own: those of depthwise convolutions differ by orders of magnitude.
    """
    with quantised(onnx_format.load(source), file) as (before, after):
        quantization.quantize_static(
            before,
            after,
            Reader(batches),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QUInt8,
        )


class Reader(quantization.CalibrationDataReader):
    """Batches as the calibration asks for them."""

    def __init__(self, batches: Iterable[dict[str, np.ndarray]]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch; None: there is none."""
        return next(self.batches, None)


@contextlib.contextmanager
def quantised(model: ModelProto, file: Path) -> Iterator[tuple[Path, Path]]:
    """Two files: what the quantiser reads, and what it writes, which becomes `file`."""
    with tempfile.TemporaryDirectory() as folder, quiet():
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx_format.save(model, before)
        yield before, after
        made = onnx_format.load(after)
    constants_int8(made.graph)
    save(made, file)


def embeddings_int8(graph: GraphProto) -> None:
    """Large tables that rows are gathered from: 8 bits a number, a scale per row."""
    large = {i.name: i for i in graph.initializer if big(i)}
    nodes = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in large:
            nodes.append(node)
            continue
        table, ids, out = node.input[0], node.input[1], node.output[0]
        nodes += [
            helper.make_node("Gather", [f"{table}_int8", ids], [f"{out}_int8"]),
            helper.make_node("Gather", [f"{table}_scale", ids], [f"{out}_scale"]),
            helper.make_node("Cast", [f"{out}_int8"], [f"{out}_cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}_cast", f"{out}_scale"], [out]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for name in [n for n in large if f"{n}_int8" in used]:
        graph.initializer.extend(rounded(large[name]))
        if name not in used:
            graph.initializer.remove(large[name])


def constants_int8(graph: GraphProto) -> None:
    """What is large and left, such as positions of an image transformer: 8 bits on disk, fp32 again when loaded."""
    for constant in [i for i in graph.initializer if big(i)]:
        table, scale = rounded(constant)
        cast = f"{constant.name}_cast"
        graph.initializer.remove(constant)
        graph.initializer.extend((table, scale))
        graph.node.insert(0, helper.make_node("Mul", [cast, scale.name], [constant.name]))
        graph.node.insert(0, helper.make_node("Cast", [table.name], [cast], to=TensorProto.FLOAT))


def big(constant: TensorProto) -> bool:
    """Whether it is a table of float32 and worth 8 bits."""
    sizes = [size for size in constant.dims if size > 1]
    return bool(constant.data_type == TensorProto.FLOAT and len(sizes) > 1 and np.prod(sizes) >= LARGE)


def rounded(constant: TensorProto) -> tuple[TensorProto, TensorProto]:
    """(R, ...) in int8, and the scales of its rows, or filters (R, 1, ...); axes of one entry may go before."""
    values = numpy_helper.to_array(constant)
    rows = next(axis for axis, size in enumerate(values.shape) if size > 1)
    largest = np.abs(values).max(tuple(range(rows + 1, values.ndim)), keepdims=True)
    scale = np.maximum(largest / 127, np.finfo(np.float32).tiny)
    table = np.rint(values / scale).astype(np.int8)
    named = ((table, f"{constant.name}_int8"), (scale.astype(np.float32), f"{constant.name}_scale"))
    return numpy_helper.from_array(*named[0]), numpy_helper.from_array(*named[1])


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
