"""The head of masked language modelling, and its metrics."""

from pathlib import Path

import pytest
import torch
import torchmetrics.text
from support.pretraining import SMALL_BERT, TEXTS, write_backbone, write_small_bert
from transformers import AutoModelForMaskedLM, AutoTokenizer

from decant.backbone.huggingface import HuggingFace
from decant.training.masked_lm import Perplexity, masked_lm_network, states_of
from decant.training.masking import Masking


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with weights and a pooler."""
    return write_small_bert(tmp_path_factory.mktemp("weights"))


def test_logits_of_the_masked_tokens_are_those_of_the_whole_text(weights: Path) -> None:
    network, tokenizer = AutoModelForMaskedLM.from_pretrained(weights).eval(), AutoTokenizer.from_pretrained(weights)
    batch = Masking(tokenizer, 0.3).masked(dict(tokenizer(TEXTS, padding=True, return_tensors="pt")))
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
    with torch.no_grad():
        all_logits = network(**inputs).logits
        with states_of(batch["masked"], network.base_model):
            logits = network(**inputs).logits
        assert torch.allclose(logits[0], all_logits[batch["masked"]], atol=1e-5)
        assert torch.equal(network(**inputs).logits, all_logits)  # the hook is gone


def test_perplexity_is_that_of_torchmetrics() -> None:
    logits, target = torch.randn(2, 30, 11), torch.randint(11, (2, 30))
    perplexity, reference = Perplexity(), torchmetrics.text.Perplexity()
    for i in range(2):
        perplexity.update(logits[i], target[i])
        reference.update(logits[i : i + 1], target[i : i + 1])
    assert torch.allclose(perplexity.compute(), reference.compute())


def test_the_head_is_tied_to_the_embedding_and_reads_the_layer_before_mean_pooling(
    weights: Path, tmp_path: Path
) -> None:
    folder = write_backbone(HuggingFace(path=str(weights), pooling="mean"), tmp_path / "averaging")
    network = masked_lm_network(folder)
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert len(network.base_model.encoder.layer) == SMALL_BERT["num_hidden_layers"]
