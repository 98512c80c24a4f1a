"""An encoder for pairs of texts, each read apart (`siamese_network.py`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModel, AutoTokenizer

from decant.backbone.huggingface import HuggingFace
from decant.backbone.siamese_network import SiameseConfig, SiameseForSequenceClassification
from decant.core.errors import UserError


@dataclass(kw_only=True)
class Siamese(HuggingFace):
    """The encoder of the origin; what it says of each text is the average over its tokens.

    `scale`: the first logits are the cosine times this; near the largest target, else the encoder is bent to reach it.
    """

    scale: float = 1.0
    pairs = True
    states = False
    cacheable = False  # two averages over tokens

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooling != "first":
            raise UserError("pooling: is for one sequence; a siamese network averages anyway: leave it out")

    def write(self, folder: Path) -> dict[str, Any]:
        """See `Backbone.write`."""
        facts = super().write(folder)
        told_apart(folder, self.origin())
        body = AutoConfig.from_pretrained(folder)
        body.name_or_path = ""  # else the folder, in the saved configuration
        config = SiameseConfig(body.to_dict(), self.scale)
        if self.pretrained:
            network = SiameseForSequenceClassification(config)
            before = AutoModel.from_pretrained(folder, use_safetensors=True).state_dict()
            network.backbone.load_state_dict({k: v for k, v in before.items() if not k.startswith("pooler.")})
            weights = {k: v for k, v in network.state_dict().items() if not k.startswith("classifier.")}
            network.save_pretrained(folder, state_dict=weights)
        config.save_pretrained(folder)
        return facts


def told_apart(folder: Path, origin: str) -> None:
    """Nothing, if the tokenizer joins a pair as start, a, end, b, end and gives the second text the type 1.

    Raises:
        UserError: it does not.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = tokenizer("a", "a")
    if found.get("token_type_ids") != [0, 0, 0, 1, 1] or tokenizer.padding_side != "right":
        raise UserError(
            f"the tokenizer of {origin} gives a pair of words the token types {found.get('token_type_ids')}, padded on "
            f"the {tokenizer.padding_side}; expected [0, 0, 0, 1, 1], padded on the right: choose one of BERT's family"
        )
