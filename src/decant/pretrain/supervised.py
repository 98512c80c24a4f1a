"""Supervised pretraining: the network learns the classes of the source data (Yosinski et al. 2014, arXiv:1411.1792)."""

from typing import TYPE_CHECKING

from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from decant.pretrain import Pretrain
from decant.pretrain.weights import replace_weights, require_architecture
from decant.task.classify import Classify

if TYPE_CHECKING:  # slow to import
    from decant.training.job import TrainingJob


class Supervised(Pretrain):
    """Single-label classification of the source data."""

    def __init__(self) -> None:
        self.task = Classify()

    def train(self, job: "TrainingJob") -> None:
        """See `Pretrain.train`; the head is not kept.

        Raises:
            UserError: a network without a backbone apart from its head.
        """
        from decant.training.train import learn  # slow to import, and prepare never trains

        require_architecture(job.init_dir, MODEL_MAPPING_NAMES, "backbone apart from its head", "supervised")
        network, _, _ = learn(job)
        replace_weights(network.base_model, job.init_dir)
