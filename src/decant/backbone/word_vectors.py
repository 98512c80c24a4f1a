"""The word vectors of a pretrained model, for networks that start with an embedding."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from decant.core.errors import UserError


def read_word_vectors(folder: Path) -> torch.Tensor:
    """The word vectors (V, H) of a model directory.

    Raises:
        UserError: the weights have no table of word vectors, or several.
    """
    file = folder / "model.safetensors"
    tables = [v for k, v in load_file(file).items() if k.endswith("word_embeddings.weight")]
    if len(tables) != 1:
        raise UserError(f"{file.name} has {len(tables)} tables of word vectors, expected one; leave out sha256:")
    return tables[0]


def principal_components(table: torch.Tensor, size: int) -> torch.Tensor:
    """The first `size` principal components (V, size) of the rows of a table (V, H), scaled to a mean length of 1."""
    centred = table.double() - table.double().mean(0)
    _, _, directions = torch.linalg.svd(centred.T @ centred)
    components = centred @ directions[:size].T
    return (components / components.norm(dim=1).mean()).float().contiguous()
