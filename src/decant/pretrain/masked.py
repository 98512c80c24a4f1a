"""Masked-language-model pretraining: the backbone learns to fill gaps in the source texts, whatever their labels.

Devlin et al., "BERT", NAACL 2019, arXiv:1810.04805. On texts of the target's domain: Gururangan et al., "Don't Stop
Pretraining", ACL 2020, arXiv:2004.10964.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from transformers import AutoModelForMaskedLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from decant.adapt.full import Full
from decant.config.schema import Training
from decant.core.errors import UserError, require
from decant.core.files import read_json
from decant.dataset.modality import Encoder, Row
from decant.dataset.prepared import SOURCE, Prepared, read_prepared
from decant.models import directory, surgery
from decant.models.directory import Head
from decant.pretrain import Pretrain, replace_weights, require_architecture
from decant.task.classify import Classify
from decant.tracking.runs import Run

if TYPE_CHECKING:
    from decant.training.masking import Gaps


class Masked(Pretrain):
    """Gaps are filled; the head that fills them, tied to the embedding, is left behind.

    `augment` plays no part: the gaps are other ones in each epoch.
    """

    modality = "text"
    labelled = False

    def __init__(self, rate: float = 0.15) -> None:
        self.rate = rate
        require(self, rate=(0 < rate < 1, "a share of the tokens, in (0, 1)"))
        self.task = Classify()  # its target for "no label"

    def train(self, cfg: DictConfig, knobs: Training, folder: Path, tracked: Run) -> None:
        """See `Pretrain.train`.

        Raises:
            UserError: a network or a tokenizer that knows no mask; texts without a token.
        """
        import pytorch_lightning as pl  # prepare builds this piece, and trains nothing

        from decant.augment.none import Unchanged
        from decant.training.datamodule import Data
        from decant.training.masked_lm import Filler, MaskedTokens
        from decant.training.masking import Gaps
        from decant.training.trainer import fit

        prepared = read_prepared(SOURCE)
        require_architecture(folder, MODEL_FOR_MASKED_LM_MAPPING_NAMES, "masked-language-model head", "masked")
        pl.seed_everything(cfg.seed, verbose=False)
        encoder = prepared.modality.encoder(folder, knobs.max_length)
        gaps = Gaps(encoder.processor, self.rate)
        rows = fillable(encoder, gaps, prepared)
        data = Data(rows["train"], rows["validation"], encoder, knobs.batch_size, cfg.seed, section="pretrain_load")
        network = start(folder)
        lr = knobs.lr * read_json(folder / "manifest.json")["lr_scale"]
        objective = MaskedTokens(network.get_input_embeddings().num_embeddings)
        filler = Filler(network, encoder, objective, knobs, lr, Full(), Unchanged(), gaps)
        replace_weights(fit(filler, data, knobs.epochs, cfg, tracked).base_model, folder)


def start(folder: Path) -> PreTrainedModel:
    """The backbone of `folder` under a new masked-language-model head.

    The layer that averages stays out: behind it no token's state is its own, so there is no telling them apart.
    """
    network = directory.with_head(AutoModelForMaskedLM, folder, Head())
    surgery.drop_average(network.base_model)
    return network


def fillable(encoder: Encoder, gaps: "Gaps", prepared: Prepared) -> dict[str, list[Row]]:
    """{split: rows} with at least one token that is not special.

    Raises:
        UserError: a split without any.
    """
    kept = {
        split: [r for r in rows if gaps.allowed(encoder.stack([r.input])["input_ids"]).any()]
        for split, rows in encoder.rows(prepared.frames).items()
    }
    if bare := [split for split, rows in kept.items() if not rows]:
        raise UserError(f"{', '.join(bare)} of the source data has no text with a token to mask; use another source")
    return kept
