"""No pretraining here: the teacher's weights are those its yaml names."""

from pathlib import Path

from omegaconf import DictConfig

from decant.config.schema import Training
from decant.pretrain import Pretrain
from decant.tracking.runs import Run


class NoPretraining(Pretrain):
    """The weights are given."""

    needs_source = False

    def train(self, cfg: DictConfig, knobs: Training, folder: Path, tracked: Run) -> None:
        """Nothing."""
