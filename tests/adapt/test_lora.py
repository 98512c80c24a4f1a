"""Low-rank matrices beside the weights of linear layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_networks import logits, random_inputs, tiny_network
from support.watched_training import WatchedTraining, equal, learner_of
from torch import nn
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from decant.adapt.full import Full
from decant.adapt.lora import Lora
from decant.augment.fgm import FGM
from decant.core.errors import UserError
from decant.models import directory
from decant.models.blocks import blocks

NETWORKS = ("bert", "distilbert", "deberta", "vit", "convnext", "mlp_bert")


def trained(name: str, lora: Lora) -> Any:
    """A network with low-rank matrices as training leaves them: B is not 0."""
    wrapped = lora.wrap(tiny_network(name))
    torch.manual_seed(3)
    for key, parameter in wrapped.named_parameters():
        if "lora_B" in key:
            nn.init.normal_(parameter, std=0.3)
    return wrapped


@pytest.mark.parametrize("name", NETWORKS)
def test_merged_equals_unmerged_and_is_the_ordinary_network(name: str) -> None:
    plain, x, lora = tiny_network(name), random_inputs(name), Lora(4, 8.0, 0.1)
    torch.testing.assert_close(logits(lora.wrap(tiny_network(name)), x), logits(plain, x))  # B is 0 at the start
    wrapped = trained(name, lora)
    unmerged = logits(wrapped, x)
    assert not torch.allclose(unmerged, logits(plain, x), rtol=1e-3)
    merged = lora.unwrap(wrapped)
    torch.testing.assert_close(logits(merged, x), unmerged, atol=1e-4, rtol=1e-4)
    assert type(merged) is type(plain)
    assert list(merged.state_dict()) == list(plain.state_dict())
    assert merged.config.to_json_string() == plain.config.to_json_string()
    assert all(p.requires_grad for p in merged.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_low_rank_matrices_and_the_whole_head_are_trained_and_nothing_else(name: str) -> None:
    plain, wrapped = tiny_network(name), Lora(4, 8.0, 0.0).wrap(tiny_network(name))
    names = {k.removeprefix("model.") for k, p in wrapped.named_parameters() if p.requires_grad and "lora_" not in k}
    assert names == {k for k, _ in plain.named_parameters() if k.split(".")[0] != plain.base_model_prefix}
    assert len(blocks(wrapped)) == len(blocks(plain))


def test_lora_keeps_base_weights_bitwise_until_it_merges(watched_training: Callable[..., WatchedTraining]) -> None:
    training = watched_training("vit")
    network = training.train(Lora(2, 4.0, 0.1), "fine_tune.ema=0.5")
    state = {k.replace(".base_layer", "").removeprefix("model.vit."): v for k, v in training.states[-1].items()}
    # its head does not read the pooler
    before = {k: v for k, v in training.initial_backbone().items() if not k.startswith("pooler")}
    assert equal({k: state[k] for k in before}, before)
    after, matrices = network.base_model.state_dict(), {k.split(".lora_A")[0] for k in state if ".lora_A" in k}
    assert matrices
    for key in before:
        assert torch.equal(after[key], before[key]) == (key.removesuffix(".weight") not in matrices), key


def test_plain_transformers_loads_a_text_network_trained_with_lora(
    watched_training: Callable[..., WatchedTraining], tmp_path: Path
) -> None:
    training = watched_training("text")
    network = training.train(Lora(2, 4.0, 0.1, ["query", "value"]))
    wrapped_keys = {k.split(".lora_A")[0] for k in training.states[-1] if ".lora_A" in k}
    assert len(wrapped_keys) == 4
    assert {k.rpartition(".")[2] for k in wrapped_keys} == {"query", "value"}
    directory.save(network, training.encoder.processor, tmp_path / "saved")
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    batch = training.encoder.inputs(training.encoder.collate(training.rows["test"]))
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, network.eval()(**batch).logits)
    full = training.train(Full())
    directory.save(full, training.encoder.processor, tmp_path / "full")
    assert (tmp_path / "saved/config.json").read_bytes() == (tmp_path / "full/config.json").read_bytes()
    assert {f.name for f in (tmp_path / "saved").iterdir()} == {f.name for f in (tmp_path / "full").iterdir()}


def test_a_backbone_without_linear_layers_and_a_name_it_lacks_are_refused() -> None:
    with pytest.raises(UserError, match=r"the backbone of MobileNetV2\w+ has none; choose adapt full"):
        Lora(4, 8.0, 0.0).wrap(tiny_network("mobilenet_v2"))
    with pytest.raises(
        UserError, match=r"targets names q, but .*BertFor\w+ has no .*it has: dense, key, query, value; or"
    ):
        Lora(4, 8.0, 0.0, ["value", "q"]).wrap(tiny_network("bert"))


def test_adversarial_training_reaches_the_low_rank_matrices() -> None:
    wrapped, x = Lora(4, 8.0, 0.0).wrap(tiny_network("bert")), random_inputs("bert")
    learner = learner_of(wrapped, Lora(4, 8.0, 0.0))
    logits_of_batch = learner({"x": x})
    batch = {"x": x, "target": torch.tensor([0, 1, 2, 0, 1])}
    assert (
        FGM(1.0, 1.0)
        .extra(learner, batch, logits_of_batch, learner.loss(logits_of_batch, batch))["adversarial"]
        .requires_grad
    )


def test_plain_transformers_loads_an_image_network_trained_with_lora(
    watched_training: Callable[..., WatchedTraining], tmp_path: Path
) -> None:
    training = watched_training("vit")
    network = training.train(Lora(2, 4.0, 0.0), "fine_tune.epochs=1")
    directory.save(network, training.encoder.processor, tmp_path / "saved")
    loaded, info = AutoModelForImageClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    np.testing.assert_array_equal(
        directory.predict(loaded, training.encoder, training.rows["test"]),
        directory.predict(network, training.encoder, training.rows["test"]),
    )
