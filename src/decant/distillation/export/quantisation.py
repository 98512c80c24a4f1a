"""ONNX graphs with weights, and in part activations, of 8 bits."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper
from onnxruntime import quantization
from torch import nn
from transformers import PreTrainedModel

from decant.dataset.modality import Batch, Encoder, Row
from decant.distillation.export.onnx import save_graph, silenced

MIN_SIZE = 2048
"""Numbers in a table or constant from which on it is stored in 8 bits."""
DYNAMIC_OPERATORS = ("MatMul", "LSTM")
"""Operators that compute in 8 bits; Gemm becomes MatMul. ConvInteger is many times slower than a convolution."""
CALIBRATION_BATCH = 16
Arrays = dict[str, np.ndarray]


def quantise(network: PreTrainedModel, encoder: Encoder, rows: Sequence[Row], source: Path, file: Path) -> None:
    """Write the graph `source` of `network` in 8 bits: calibrated on `rows` where it has convolutions."""
    if not is_convolutional(network):
        quantise_dynamic(source, file)
        return
    batches = (rows[i : i + CALIBRATION_BATCH] for i in range(0, len(rows), CALIBRATION_BATCH))
    quantise_static(source, file, (arrays(encoder.inputs(encoder.collate(batch))) for batch in batches))


def is_convolutional(network: PreTrainedModel) -> bool:
    """Whether a network needs static quantisation: it has convolutions besides the one that makes patches."""
    return sum(isinstance(m, nn.Conv2d) for m in network.modules()) > 1


def quantise_dynamic(source: Path, file: Path) -> None:
    """Write the graph `source` with weights of 8 bits, for transformers and LSTM; a quarter of the size.

    Activations are rounded at run time (Zafrir et al. 2019, arXiv:1910.06188): nothing is calibrated. Each output of a
    layer and each row of an embedding has its own scale.
    """
    model = onnx.load(source)
    quantise_embeddings(model.graph)
    with quantised(model, file) as (before, after):
        quantization.quantize_dynamic(
            before,
            after,
            op_types_to_quantize=DYNAMIC_OPERATORS,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )


def quantise_static(source: Path, file: Path, batches: Iterable[Arrays]) -> None:
    """Write the graph `source` with weights and activations of 8 bits, for convolutional networks.

    The ranges of activations are those on `batches` of inputs (Jacob et al. 2018, arXiv:1712.05877). Each output
    channel has its own scale: those of depthwise convolutions differ by orders of magnitude.
    """
    with quantised(onnx.load(source), file) as (before, after):
        quantization.quantize_static(
            before,
            after,
            CalibrationReader(batches),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
            activation_type=quantization.QuantType.QUInt8,
        )


class CalibrationReader(quantization.CalibrationDataReader):
    """Batches as the calibration asks for them."""

    def __init__(self, batches: Iterable[Arrays]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> Arrays | None:
        """The next batch; None: there is none."""
        return next(self.batches, None)


@contextlib.contextmanager
def quantised(model: ModelProto, file: Path) -> Iterator[tuple[Path, Path]]:
    """Two files: one that the quantiser reads, and one that it writes, which becomes `file`."""
    with tempfile.TemporaryDirectory() as folder, silenced():
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        yield before, after
        result = onnx.load(after)
    quantise_constants(result.graph)
    save_graph(result, file)


def quantise_embeddings(graph: GraphProto) -> None:
    """Store large tables from which rows are gathered in 8 bits, with a scale per row."""
    tables = {i.name: i for i in graph.initializer if is_large(i)}
    nodes = []
    for node in graph.node:
        if node.op_type != "Gather" or node.input[0] not in tables:
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
    for name in [n for n in tables if f"{n}_int8" in used]:
        graph.initializer.extend(rounded(tables[name]))
        if name not in used:
            graph.initializer.remove(tables[name])


def quantise_constants(graph: GraphProto) -> None:
    """Store the remaining large constants, such as positions of an image transformer, in 8 bits; fp32 when loaded."""
    for constant in [i for i in graph.initializer if is_large(i)]:
        table, scale = rounded(constant)
        cast = f"{constant.name}_cast"
        graph.initializer.remove(constant)
        graph.initializer.extend((table, scale))
        graph.node.insert(0, helper.make_node("Mul", [cast, scale.name], [constant.name]))
        graph.node.insert(0, helper.make_node("Cast", [table.name], [cast], to=TensorProto.FLOAT))


def is_large(constant: TensorProto) -> bool:
    """Whether a constant is a table of float32, and large enough for 8 bits."""
    sizes = [size for size in constant.dims if size > 1]
    return bool(constant.data_type == TensorProto.FLOAT and len(sizes) > 1 and np.prod(sizes) >= MIN_SIZE)


def rounded(constant: TensorProto) -> tuple[TensorProto, TensorProto]:
    """(R, ...) in int8, and the scales of its rows, or filters (R, 1, ...); axes of size 1 may precede them."""
    values = numpy_helper.to_array(constant)
    row_axis = next(axis for axis, size in enumerate(values.shape) if size > 1)
    largest = np.abs(values).max(tuple(range(row_axis + 1, values.ndim)), keepdims=True)
    scale = np.maximum(largest / 127, np.finfo(np.float32).tiny)
    table = np.rint(values / scale).astype(np.int8)
    return (
        numpy_helper.from_array(table, f"{constant.name}_int8"),
        numpy_helper.from_array(scale.astype(np.float32), f"{constant.name}_scale"),
    )


def arrays(batch: Batch) -> Arrays:
    """A batch as ONNX Runtime takes it."""
    return {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in batch.items()}
