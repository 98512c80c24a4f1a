"""Masked language modelling: the backbone learns to predict masked tokens of the source texts, without their labels.

Devlin et al., "BERT", NAACL 2019, arXiv:1810.04805. On texts of the target's domain: Gururangan et al., "Don't Stop
Pretraining", ACL 2020, arXiv:2004.10964.
"""

from typing import TYPE_CHECKING

from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from decant.core.errors import require
from decant.pretrain import Pretrain
from decant.pretrain.weights import replace_weights, require_architecture
from decant.task.classify import Classify

if TYPE_CHECKING:  # slow to import
    from decant.training.job import TrainingJob


class Masked(Pretrain):
    """Predicts a share `rate` of the tokens, which is masked, with a head that is tied to the embedding and not kept.

    `augment` has no effect: the masks differ in each epoch.
    """

    modality = "text"
    labelled = False

    def __init__(self, rate: float = 0.15) -> None:
        self.rate = rate
        require(self, rate=(0 < rate < 1, "a share of the tokens, in (0, 1)"))
        self.task = Classify()  # its target for "no label"

    def train(self, job: "TrainingJob") -> None:
        """See `Pretrain.train`.

        Raises:
            UserError: a network without a masked-language-model head, a tokenizer without a mask, texts without tokens.
        """
        from decant.training.masked_lm import train_masked_lm  # slow to import, and prepare never trains

        require_architecture(job.init_dir, MODEL_FOR_MASKED_LM_MAPPING_NAMES, "masked-language-model head", "masked")
        replace_weights(train_masked_lm(job, self.rate).base_model, job.init_dir)
