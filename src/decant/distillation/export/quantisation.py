"""The graph of a network with weights, and in part activations, of 8 bits."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx as onnx_format
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from onnxruntime import quantization

from decant.distillation.export.onnx import quiet, save

LARGE = 2048
"""Numbers of a table or constant from which on it is stored in 8 bits."""
DYNAMIC = ("MatMul", "LSTM")
"""Operators that compute in 8 bits; Gemm becomes MatMul. ConvInteger is many times slower than a convolution."""


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
