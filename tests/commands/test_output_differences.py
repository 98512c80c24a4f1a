import json
import math
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file
from support.model_directories import text_model

from decant.commands import output_differences
from decant.commands.output_differences import file_difference, value_difference


def test_weights_are_measured_against_the_largest_beside_them(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(0, 0.002, (20, 20)).astype(np.float32)
    other = weights.copy()
    other[3, 4] += 0.001
    for name, array in (("a", weights), ("b", other)):
        save_file({"w": array, "b": np.ones(3, np.float32)}, tmp_path / f"{name}.safetensors")
    found = file_difference(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert found == pytest.approx(0.001 / np.abs(weights).max(), rel=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        ({"a": 0.5, "b": [1, None]}, {"a": 0.25, "b": [1, None]}, 0.25),
        ({"a": "x"}, {"a": "x"}, 0.0),
        ({"a": "x"}, {"a": "y"}, math.inf),
        ({"a": 1}, {"b": 1}, math.inf),
        ({"a": 1}, [1], math.inf),
        ({"a": np.ones(3)}, {"b": np.ones(3)}, math.inf),
        ([1, 2], [1, 2, 3], math.inf),
        (2**60, 2**60 + 100, 100.0),
        (float("nan"), 1.0, math.inf),
        (np.ones(3), np.ones((3, 1)), math.inf),
    ],
)
def test_anything_but_numbers_has_to_be_equal(first: object, second: object, wanted: float) -> None:
    assert value_difference(first, second) == wanted


def test_what_predictions_are_of_has_to_be_equal_but_for_the_model(tmp_path: Path) -> None:
    def written(name: str, facts: dict[str, str], value: float) -> Path:
        table = pa.Table.from_pandas(pd.DataFrame({"row_id": ["a"], "logits": [[1.0, value]]}), preserve_index=False)
        pq.write_table(table.replace_schema_metadata({"decant": json.dumps(facts)}), tmp_path / name)
        return tmp_path / name

    one = written("a.parquet", {"data": "x", "model": "m"}, 2.0)
    assert file_difference(one, written("b.parquet", {"data": "x", "model": "n"}, 2.1)) == pytest.approx(0.05)
    assert file_difference(one, written("c.parquet", {"data": "y", "model": "m"}, 2.0)) == math.inf


@pytest.mark.slow
def test_quantised_files_are_measured_by_what_their_weights_stand_for(tmp_path: Path) -> None:
    file = text_model(tmp_path / "model", int8=True) / "int8/model.onnx"
    assert file_difference(file, file) == 0.0
    graph = onnx.load(file)
    name = next(t.name for t in graph.graph.initializer if t.name.endswith("_quantized") and len(t.dims) == 2)
    for tensor in graph.graph.initializer:
        if tensor.name == name:
            array = onnx.numpy_helper.to_array(tensor).copy()
            array[0, 0] += 1 if array[0, 0] < 100 else -1
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    onnx.save(graph, tmp_path / "step.onnx")
    assert 0 < file_difference(file, tmp_path / "step.onnx") < 0.02  # a step of 1 in 127
    graph.graph.node[0].op_type = "Relu"
    onnx.save(graph, tmp_path / "other.onnx")
    assert file_difference(file, tmp_path / "other.onnx") == math.inf


def test_a_file_that_one_of_both_lacks_is_different(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps({"accuracy": 0.5}))
    (tmp_path / "b/more.txt").write_text("x")
    assert output_differences.by_file(tmp_path / "a", tmp_path / "b") == {"metrics.json": 0.0, "more.txt": math.inf}
