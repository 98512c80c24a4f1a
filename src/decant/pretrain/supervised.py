"""Supervised pretraining: the network learns the classes of the source data (Yosinski et al. 2014, arXiv:1411.1792)."""

from pathlib import Path

from omegaconf import DictConfig
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from decant.adapt.full import Full
from decant.config.schema import Training
from decant.dataset.prepared import SOURCE, read_prepared
from decant.pretrain import Pretrain, replace_weights, require_architecture
from decant.task.classify import Classify
from decant.tracking.runs import Run


class Supervised(Pretrain):
    """Single-label classification of the source data."""

    def __init__(self) -> None:
        self.task = Classify()

    def train(self, cfg: DictConfig, knobs: Training, folder: Path, tracked: Run) -> None:
        """See `Pretrain.train`; the head is left behind.

        Raises:
            UserError: a network without layers to share.
        """
        from decant.fine_tune import FineTuner
        from decant.training.train import learn

        require_architecture(folder, MODEL_MAPPING_NAMES, "backbone apart from its head", "supervised")
        prepared = read_prepared(SOURCE)
        network, _, _ = learn(cfg, knobs, prepared, self.task.objective, folder, tracked, FineTuner, Full())
        replace_weights(network.base_model, folder)
