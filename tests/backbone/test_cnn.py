"""The smallest student: words, filters, and the directions in which word vectors differ."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from decant.backbone.cnn import CNN, CNNConfig, CNNForSequenceClassification
from decant.backbone.word_vectors import principal_components, read_word_vectors
from decant.core.errors import UserError
from decant.core.hashing import sha256

SIZES = {"vocab_size": 30, "embedding_size": 6, "num_labels": 3}


def network(filters: dict[str, int]) -> CNNForSequenceClassification:
    torch.manual_seed(0)
    return CNNForSequenceClassification(CNNConfig(filters=filters, **SIZES)).eval()


@torch.no_grad()
def test_the_bag_is_the_average_of_word_vectors_by_hand() -> None:
    bag = network({})
    ids = torch.tensor([[3, 4, 5]])
    expected = bag.classifier(bag.embedding.weight[[3, 4, 5]].mean(0, keepdim=True))
    torch.testing.assert_close(bag(ids, torch.ones_like(ids)).logits, expected)


@torch.no_grad()
def test_a_filter_gives_its_largest_response_by_hand() -> None:
    net = network({"3": 4})
    ids = torch.tensor([[3, 4, 5, 6]])
    words = np.pad(net.embedding.weight[ids[0]].double().numpy(), ((1, 1), (0, 0)))
    kernel, bias = net.convolutions[0].weight.double().numpy(), net.convolutions[0].bias.double().numpy()
    windows = np.stack([words[i : i + 3].T for i in range(4)])  # (T, H, 3)
    result = np.maximum(0, np.einsum("thw,ohw->to", windows, kernel) + bias).max(0)
    read = torch.from_numpy(np.concatenate([words[1:-1].mean(0), result])).float()[None]
    torch.testing.assert_close(net(ids, torch.ones_like(ids)).logits, net.classifier(read))


@torch.no_grad()
@pytest.mark.parametrize("filters", [{}, {"1": 3}, {"3": 4, "5": 2}], ids=str)
def test_padding_does_not_change_what_it_says(filters: dict[str, int]) -> None:
    net = network(filters)
    net.convolutions.apply(lambda m: torch.nn.init.constant_(m.bias, 1.0) if hasattr(m, "bias") else None)
    short = torch.tensor([[3, 4]])
    long = torch.tensor([[3, 4, 0, 0, 0, 0]])
    mask = torch.tensor([[1, 1, 0, 0, 0, 0]])
    torch.testing.assert_close(net(short, torch.ones_like(short)).logits, net(long, mask).logits)


def test_reduced_vectors_are_the_principal_directions() -> None:
    generator = np.random.default_rng(0)
    table = generator.normal(size=(200, 5)) * [5, 3, 1, 0.1, 0.1] + 2
    result = principal_components(torch.from_numpy(table).float(), 2).double().numpy()
    centred = table - table.mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    expected = left[:, :2] * values[:2]
    expected /= np.linalg.norm(expected, axis=1).mean()
    np.testing.assert_allclose(np.abs(result), np.abs(expected), atol=1e-5)


def test_vectors_of_another_file_are_refused(tmp_path: Path) -> None:
    save_file({"embeddings.word_embeddings.weight": torch.zeros(3, 2)}, tmp_path / "model.safetensors")
    assert read_word_vectors(tmp_path).shape == (3, 2)
    origin = CNN(path=str(tmp_path), embedding_size=4, filters={}, dropout=0.1)
    assert origin.verified_digest(tmp_path, digest := sha256(tmp_path / "model.safetensors")) == digest
    with pytest.raises(UserError, match="expected 0000"):
        origin.verified_digest(tmp_path, "0000")


def test_windows_without_a_middle_are_refused() -> None:
    with pytest.raises(UserError, match=r"filters is .*expected numbers of filters by width, and odd widths"):
        CNN(package="x", embedding_size=4, filters={2: 3}, dropout=0.1)
