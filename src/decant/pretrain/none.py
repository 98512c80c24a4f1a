"""No pretraining: the teacher's weights are those that its yaml names."""

from typing import TYPE_CHECKING

from decant.pretrain import Pretrain

if TYPE_CHECKING:  # slow to import
    from decant.training.job import TrainingJob


class NoPretraining(Pretrain):
    """Keeps the weights of the backbone."""

    needs_source = False

    def train(self, job: "TrainingJob") -> None:
        """Nothing."""
