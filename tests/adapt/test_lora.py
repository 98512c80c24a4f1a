from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.adapt_training import AdaptTraining, same_weights
from support.tiny_networks import logits, random_inputs, tiny_network
from torch import nn
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from decant.adapt.full import Full
from decant.adapt.lora import Lora
from decant.core.errors import UserError
from decant.models import directory
from decant.models.blocks import blocks

NETWORKS = ("bert", "distilbert", "deberta", "vit", "convnext", "mlp_bert")
pytestmark = [
    pytest.mark.usefixtures("one_thread", "project_dir"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


def wrapped_and_trained(name: str, lora: Lora) -> Any:
    """A wrapped network with matrices B other than 0, as after training."""
    wrapped = lora.wrap(tiny_network(name))
    torch.manual_seed(3)
    for key, parameter in wrapped.named_parameters():
        if "lora_B" in key:
            nn.init.normal_(parameter, std=0.3)
    return wrapped


@pytest.mark.parametrize("name", NETWORKS)
def test_the_merged_network_is_ordinary_and_equals_the_wrapped_one(name: str) -> None:
    network, x, lora = tiny_network(name), random_inputs(name), Lora(4, 8.0, 0.1)
    torch.testing.assert_close(logits(lora.wrap(tiny_network(name)), x), logits(network, x))  # B is 0 at the start
    wrapped = wrapped_and_trained(name, lora)
    unmerged = logits(wrapped, x)
    assert not torch.allclose(unmerged, logits(network, x), rtol=1e-3)
    merged = lora.unwrap(wrapped)
    torch.testing.assert_close(logits(merged, x), unmerged, atol=1e-4, rtol=1e-4)
    assert type(merged) is type(network)
    assert list(merged.state_dict()) == list(network.state_dict())
    assert merged.config.to_json_string() == network.config.to_json_string()
    assert all(p.requires_grad for p in merged.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_only_low_rank_matrices_and_the_head_are_trained(name: str) -> None:
    network, wrapped = tiny_network(name), Lora(4, 8.0, 0.0).wrap(tiny_network(name))
    trained = {k.removeprefix("model.") for k, p in wrapped.named_parameters() if p.requires_grad and "lora_" not in k}
    assert trained == {k for k, _ in network.named_parameters() if k.split(".")[0] != network.base_model_prefix}
    assert len(blocks(wrapped)) == len(blocks(network))


def test_base_weights_are_bitwise_unchanged_until_the_merge() -> None:
    training = AdaptTraining("vit")
    network = training.train(Lora(2, 4.0, 0.1), "fine_tune.ema=0.5")
    weights = {k.replace(".base_layer", "").removeprefix("model.vit."): v for k, v in training.weights[-1].items()}
    # the head does not read the pooler
    before = {k: v for k, v in training.initial_backbone().items() if not k.startswith("pooler")}
    assert same_weights({k: weights[k] for k in before}, before)
    after, adapted = network.base_model.state_dict(), {k.split(".lora_A")[0] for k in weights if ".lora_A" in k}
    assert adapted
    for key in before:
        assert torch.equal(after[key], before[key]) == (key.removesuffix(".weight") not in adapted), key


def test_plain_transformers_loads_the_merged_network(tmp_path: Path) -> None:
    training = AdaptTraining("text")
    network = training.train(Lora(2, 4.0, 0.1, ["query", "value"]))
    adapted = {k.split(".lora_A")[0] for k in training.weights[-1] if ".lora_A" in k}
    assert len(adapted) == 4
    assert {k.rpartition(".")[2] for k in adapted} == {"query", "value"}
    directory.save(network, training.encoder.processor, tmp_path / "merged")
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    batch = training.encoder.inputs(training.encoder.collate(training.rows["test"]))
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, network.eval()(**batch).logits)
    directory.save(training.train(Full()), training.encoder.processor, tmp_path / "full")
    assert (tmp_path / "merged/config.json").read_bytes() == (tmp_path / "full/config.json").read_bytes()
    assert {f.name for f in (tmp_path / "merged").iterdir()} == {f.name for f in (tmp_path / "full").iterdir()}


def test_plain_transformers_loads_a_merged_network_for_images(tmp_path: Path) -> None:
    training = AdaptTraining("vit")
    network = training.train(Lora(2, 4.0, 0.0), "fine_tune.epochs=1")
    directory.save(network, training.encoder.processor, tmp_path / "merged")
    loaded, info = AutoModelForImageClassification.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    np.testing.assert_array_equal(
        directory.predict(loaded, training.encoder, training.rows["test"]),
        directory.predict(network, training.encoder, training.rows["test"]),
    )


def test_a_backbone_without_linear_layers_and_an_unknown_name_are_refused() -> None:
    with pytest.raises(UserError, match=r"the backbone of MobileNetV2\w+ has none; choose adapt full"):
        Lora(4, 8.0, 0.0).wrap(tiny_network("mobilenet_v2"))
    message = r"targets names q, but .*BertFor\w+ has no .*it has: dense, key, query, value; or"
    with pytest.raises(UserError, match=message):
        Lora(4, 8.0, 0.0, ["value", "q"]).wrap(tiny_network("bert"))
