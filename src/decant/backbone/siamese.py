"""An encoder for pairs of texts that reads each text separately (see `siamese_network.py`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModel, AutoTokenizer

from decant.backbone.huggingface import HuggingFace
from decant.backbone.siamese_network import SiameseConfig, SiameseForSequenceClassification
from decant.core.errors import UserError


@dataclass(kw_only=True)
class Siamese(HuggingFace):
    """The encoder of the origin, with the mean over the tokens of each text.

    `scale`: the logits of the untrained head are the cosine of the two texts times this. It should be near the largest
    target; otherwise training distorts the encoder to reach it.
    """

    scale: float = 1.0
    pairs_only = True
    has_states = False
    cacheable = False  # the head reads two vectors

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooling != "first":
            raise UserError("pooling: is for one sequence; a siamese network always uses the mean: leave it out")

    def write(self, folder: Path) -> dict[str, Any]:
        """See `Backbone.write`."""
        facts = super().write(folder)
        check_token_types(folder, self.origin())
        encoder_config = AutoConfig.from_pretrained(folder)
        encoder_config.name_or_path = ""  # otherwise the folder would be saved in the configuration
        config = SiameseConfig(encoder_config.to_dict(), self.scale)
        if self.pretrained:
            network = SiameseForSequenceClassification(config)
            weights = AutoModel.from_pretrained(folder, use_safetensors=True).state_dict()
            network.backbone.load_state_dict({k: v for k, v in weights.items() if not k.startswith("pooler.")})
            without_head = {k: v for k, v in network.state_dict().items() if not k.startswith("classifier.")}
            network.save_pretrained(folder, state_dict=without_head)
        config.save_pretrained(folder)
        return facts


def check_token_types(folder: Path, origin: str) -> None:
    """Refuse a tokenizer that does not join a pair as start, a, end, b, end, with type 1 for the second text.

    Raises:
        UserError: with the token types found.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    token_types = tokenizer("a", "a").get("token_type_ids")
    if token_types != [0, 0, 0, 1, 1] or tokenizer.padding_side != "right":
        raise UserError(
            f"the tokenizer of {origin} gives a pair of words the token types {token_types}, padded on "
            f"the {tokenizer.padding_side}; expected [0, 0, 0, 1, 1], padded on the right: choose one of BERT's family"
        )
