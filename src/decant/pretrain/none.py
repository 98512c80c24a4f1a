"""No pretraining: the teacher's weights are those that its yaml names."""

from decant.pretrain import Pretrain
from decant.training.job import TrainingJob


class NoPretraining(Pretrain):
    """The weights are given."""

    needs_source = False

    def train(self, job: TrainingJob) -> None:
        """Nothing."""
