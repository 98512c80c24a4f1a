"""Networks as ONNX: the same answers as PyTorch, equal bytes, and what 8 bits change."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from support.onnx_networks import (
    ALL,
    IMAGES,
    SHAPE,
    SIDE,
    PixelRows,
    exported_graph,
    network_and_encoder,
    random_rows,
)
from support.paths import ROOT, SHARED_DATA
from support.tiny_networks import TokenRows
from transformers import (
    AutoModelForImageClassification,
    BertConfig,
    BertForSequenceClassification,
)

from decant.core.errors import UserError
from decant.dataset.modality import Batch, Encoder, Row
from decant.dataset.modality.image import Image
from decant.distillation.export.onnx import export_onnx
from decant.distillation.export.quantisation import (
    arrays,
    is_convolutional,
    is_large,
    quantise_dynamic,
    quantise_static,
    rounded,
)
from decant.models import directory
from decant.preparation.stored_inputs import stored_inputs

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHTS = SHARED_DATA / "weights" / "mobilenet_v2_imagenet"


def logits(file: Path, encoder: Encoder, rows: Sequence[Row], threads: int) -> np.ndarray:
    """What a graph says of `rows`, in their order: logits (N, C), float32, on `threads` of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def call(batch: Batch) -> torch.Tensor:
        return torch.from_numpy(session.run(["logits"], arrays(batch))[0])

    return encoder.apply(rows, call, torch.device("cpu")).numpy()


QUICK = ("lstm", "resnet", "vit")
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.nightly) for name in ALL]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_a_graph_answers_as_the_network_does_whatever_the_length_and_the_batch(name: str, folder: Path) -> None:
    network, encoder = network_and_encoder(name)
    file, many = exported_graph(name, folder), random_rows(name, seed=1)
    wanted = directory.predict(network, encoder, many)
    found = logits(file, encoder, many, threads=1)
    assert found.dtype == np.float32
    assert wanted.std() > 1e-3
    assert np.abs(found - wanted).max() < 1e-4
    alone = logits(file, encoder, many[:1], threads=1)
    assert np.abs(alone - wanted[:1]).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["siamese", "resnet"])
def test_inputs_and_output_are_called_as_promised_and_their_sizes_are_open(name: str, folder: Path) -> None:
    _, encoder = network_and_encoder(name)
    graph = onnx.load(exported_graph(name, folder)).graph
    assert [i.name for i in graph.input] == list(encoder.inputs(encoder.collate(random_rows(name, 1))))
    for given in graph.input:
        sizes = [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim]
        assert sizes == (["batch", 3, SIDE, SIDE] if name in IMAGES else ["batch", "tokens"])
    output = graph.output[0].type.tensor_type
    assert [o.name for o in graph.output] == ["logits"]
    assert output.elem_type == onnx.TensorProto.FLOAT
    assert [d.dim_param or d.dim_value for d in output.shape.dim] == ["batch", 3]


@pytest.mark.slow
@pytest.mark.parametrize("name", EACH)
def test_eight_bits_keep_the_answers_and_leave_no_large_weights(name: str, folder: Path, tmp_path: Path) -> None:
    network, encoder = network_and_encoder(name)
    source, file, many = exported_graph(name, folder), tmp_path / "int8.onnx", random_rows(name, seed=1)
    if is_convolutional(network):
        batches = [arrays(encoder.inputs(encoder.collate(random_rows(name, 30))))]
        quantise_static(source, file, batches)
    else:
        quantise_dynamic(source, file)
    before, after = (logits(f, encoder, many, threads=1) for f in (source, file))
    # the deeper an untrained network of convolutions, the more of its noise is rounding; a trained one is below
    assert np.sqrt(np.mean((after - before) ** 2)) < (0.7 if is_convolutional(network) else 0.2) * before.std()
    assert not np.array_equal(before, after)
    assert not [i.name for i in onnx.load(file).graph.initializer if is_large(i)]
    onnx.checker.check_model(onnx.load(file), full_check=True)


def test_convolutions_beside_the_one_that_cuts_patches_ask_for_calibration() -> None:
    static = {name for name in ALL if is_convolutional(network_and_encoder(name)[0])}
    assert static == {"mobilenet v1", "mobilenet v2", "resnet", "mlp head on resnet", "convnext"}


def test_rows_of_an_embedding_have_a_scale_each() -> None:
    table = np.float32([[1e-3, -2e-3], [50.0, 100.0], [0.0, 0.0]])
    numbers, scale = (onnx.numpy_helper.to_array(t) for t in rounded(onnx.numpy_helper.from_array(table, "t")))
    assert numbers.tolist() == [[64, -127], [64, 127], [0, 0]]
    assert (np.abs(numbers * scale - table) <= scale / 2 * (1 + 1e-5)).all()
    assert scale[:2, 0].tolist() == pytest.approx([2e-3 / 127, 100 / 127])


def test_filters_of_a_convolution_have_a_scale_each() -> None:
    kernel = np.linspace(-1, 1, 64 * 16 * 3, dtype=np.float32).reshape(64, 16, 3)
    positions = kernel.reshape(1, 64, 48)
    for constant, scales in ((kernel, (64, 1, 1)), (positions, (1, 64, 1))):
        made = rounded(onnx.numpy_helper.from_array(constant, "t"))
        numbers, scale = (onnx.numpy_helper.to_array(t) for t in made)
        assert scale.shape == scales
        assert np.abs(numbers * scale - constant).max() <= scale.max() / 2 * (1 + 1e-5)


MAKE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from support import onnx_networks as networks
from decant.distillation.export.quantisation import arrays, quantise_dynamic, quantise_static
print("imported", file=sys.stderr)  # imports may say that something is not installed
for name in sys.argv[2:]:
    file = networks.exported_graph(name, Path())
    if name in networks.IMAGES:
        _, encoder = networks.network_and_encoder(name)
        batch = arrays(encoder.inputs(encoder.collate(networks.random_rows(name))))
        quantise_static(file, Path(f"{name} int8.onnx"), [batch])
    else:
        quantise_dynamic(file, Path(f"{name} int8.onnx"))
"""


@pytest.mark.nightly  # tests/pipeline/test_kill.py compares the files of two exports in each test run
@pytest.mark.parametrize("names", [["lstm"], ["siamese", "mobilenet v2"]], ids=" ".join)
def test_equal_networks_give_equal_bytes_in_any_process_and_folder_and_nothing_is_printed(
    names: list[str], tmp_path: Path
) -> None:
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", MAKE, str(ROOT / "tests"), *names]
        done = subprocess.run(command, cwd=tmp_path / seed, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr.partition("imported\n")[2]) == (0, "", ""), done.stderr
    files = sorted((tmp_path / "1").iterdir())
    assert len(files) == 2 * len(names)
    for file in files:
        content = file.read_bytes()
        assert content == (tmp_path / "2" / file.name).read_bytes(), file.name
        assert str(ROOT).encode() not in content
        assert str(tmp_path).encode() not in content
        assert b".py" not in content


class Fixed(BertForSequenceClassification):
    """Reads a value of its inputs, or their number, as a Python number."""

    reads = "value"

    def forward(self, input_ids: torch.Tensor, **rest: torch.Tensor) -> object:
        output = super().forward(input_ids, **rest)
        if self.reads == "value":
            return output if int(input_ids.sum()) > 0 else None
        return type(output)(logits=output.logits[: len(input_ids)] * len(input_ids))


@pytest.mark.slow
@pytest.mark.parametrize("reads", ["value", "number"])
def test_a_network_that_cannot_be_exported_is_named(reads: str, tmp_path: Path) -> None:
    network = Fixed(BertConfig(**SHAPE)).eval()
    network.reads = reads
    with pytest.raises(UserError, match=r"Fixed cannot be exported to ONNX: .*; choose another student"):
        export_onnx(network, TokenRows(), random_rows("bert", 2), tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.slow
@pytest.mark.nightly
def test_a_calibrated_mobilenet_of_imagenet_keeps_its_answers(tmp_path: Path) -> None:
    photographs = WEIGHTS.parents[1] / "hymenoptera"
    if not WEIGHTS.is_dir() or not photographs.is_dir():
        pytest.skip(f"no {WEIGHTS} or no {photographs}; set DECANT_DATA")
    network = AutoModelForImageClassification.from_pretrained(WEIGHTS, dtype=torch.float32).eval()
    encoder, images = PixelRows(224), {}
    for split in ("train", "validation"):
        frame = pd.read_parquet(photographs / f"{split}.parquet").sample(40, random_state=0)
        frame = frame.assign(
            input=[i["bytes"] if isinstance(i, dict) else i for i in frame["image"]], row_id=frame.index
        )
        images[split] = [Row(i, 0) for i in encoder.encode(stored_inputs(frame, Image(224))[0])]
    export_onnx(network, encoder, images["train"][:1], tmp_path / "a.onnx")
    batches = (arrays(encoder.inputs(encoder.collate([row]))) for row in images["train"])
    quantise_static(tmp_path / "a.onnx", tmp_path / "b.onnx", batches)
    a, b = (logits(tmp_path / f, encoder, images["validation"], threads=1) for f in ("a.onnx", "b.onnx"))
    assert np.abs(a - directory.predict(network, encoder, images["validation"])).max() < 1e-3
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() > 0.97
    assert (tmp_path / "b.onnx").stat().st_size < 0.3 * (tmp_path / "a.onnx").stat().st_size
