"""Masked language modelling: the backbone learns to predict masked tokens of the source texts, without their labels.

Devlin et al., "BERT", NAACL 2019, arXiv:1810.04805. On texts of the target's domain: Gururangan et al., "Don't Stop
Pretraining", ACL 2020, arXiv:2004.10964.
"""

import dataclasses
from pathlib import Path

from transformers import AutoModelForMaskedLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from decant.augment.none import NoAugmentation
from decant.core.errors import UserError, require
from decant.core.files import read_json
from decant.dataset.modality import Encoder, Row
from decant.dataset.prepared import Prepared
from decant.models import directory, surgery
from decant.models.directory import Head
from decant.pretrain import Pretrain, replace_weights, require_architecture
from decant.task.classify import Classify
from decant.training.adaptation import Adapt
from decant.training.job import TrainingJob
from decant.training.masking import Masking


class Masked(Pretrain):
    """A share `rate` of the tokens is masked; the head that predicts them, tied to the embedding, is left behind.

    `augment` has no effect: the masks differ in each epoch.
    """

    modality = "text"
    labelled = False

    def __init__(self, rate: float = 0.15) -> None:
        self.rate = rate
        require(self, rate=(0 < rate < 1, "a share of the tokens, in (0, 1)"))
        self.task = Classify()  # its target for "no label"

    def train(self, job: TrainingJob) -> None:
        """See `Pretrain.train`.

        Raises:
            UserError: a network without a masked-language-model head, a tokenizer without a mask, texts without tokens.
        """
        # slow to start: prepare builds this component and trains nothing
        import pytorch_lightning as pl

        from decant.training.datamodule import DataModule
        from decant.training.masked_lm import MaskedLMLearner, MaskedTokens
        from decant.training.trainer import fit

        require_architecture(job.init_dir, MODEL_FOR_MASKED_LM_MAPPING_NAMES, "masked-language-model head", "masked")
        pl.seed_everything(job.seed, verbose=False)
        encoder = job.prepared.modality.encoder(job.init_dir, job.hparams.max_length)
        masking = Masking(encoder.processor, self.rate)
        rows = maskable_rows(encoder, masking, job.prepared)
        data = DataModule(
            rows["train"], rows["validation"], encoder, job.hparams.batch_size, job.seed, section=job.hparams.section
        )
        network = masked_lm_network(job.init_dir)
        objective = MaskedTokens(network.get_input_embeddings().num_embeddings)
        lr = job.hparams.lr * read_json(job.init_dir / "manifest.json")["lr_scale"]
        learner = MaskedLMLearner(
            network, encoder, objective, job.hparams, lr, Adapt(), NoAugmentation(), masking=masking
        )
        trained = fit(learner, data, dataclasses.replace(job, objective=objective))
        replace_weights(trained.base_model, job.init_dir)


def masked_lm_network(folder: Path) -> PreTrainedModel:
    """The backbone of `folder` under a new masked-language-model head.

    The layer for mean pooling is removed: after it no token has a state of its own.
    """
    network = directory.with_head(AutoModelForMaskedLM, folder, Head())
    surgery.remove_mean_pooling_layer(network.base_model)
    return network


def maskable_rows(encoder: Encoder, masking: Masking, prepared: Prepared) -> dict[str, list[Row]]:
    """{split: rows} with at least one token that can be masked.

    Raises:
        UserError: a split without any.
    """
    rows = {
        split: [r for r in encoded if masking.maskable(encoder.stack([r.input])["input_ids"]).any()]
        for split, encoded in encoder.rows(prepared.frames).items()
    }
    if empty := [split for split, split_rows in rows.items() if not split_rows]:
        raise UserError(f"{', '.join(empty)} of the source data has no text with a token to mask; use another source")
    return rows
