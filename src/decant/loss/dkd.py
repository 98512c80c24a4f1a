"""Decoupled soft labels: Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679.

L = w CE(student, target) + alpha T² KL(b_teacher || b_student) + beta T² KL(q_teacher || q_student)

where b is the probability of the target class against that of all other classes together, and q the distribution among
the other classes, both at temperature T. KD weights the second term by how uncertain the teacher is; here it has a
weight of its own.
"""

import torch
import torch.nn.functional as F

from decant.core.errors import require
from decant.loss import Loss, Output, Weight
from decant.loss.checks import check_comparable, check_weights
from decant.task import Objective


class DKD(Loss):
    """Target class and other classes apart; for a row without a label, the teacher's class is the target."""

    single_label = True

    def __init__(self, temperature: float, alpha: Weight, beta: Weight, hard_weight: Weight) -> None:
        super().__init__()
        self.temperature = temperature
        self.term_weights = {"target_class": alpha, "other_classes": beta, "hard": hard_weight}
        require(self, temperature=(0 < temperature < float("inf"), "a finite number above 0"))
        check_weights(alpha=alpha, beta=beta, hard_weight=hard_weight)

    def forward(
        self, student: Output, teacher: Output, target: torch.Tensor, objective: Objective
    ) -> dict[str, torch.Tensor]:
        """See `Loss.forward`."""
        teacher = teacher.detached()
        check_comparable(student.logits, teacher.logits)
        classes = torch.where(target < 0, teacher.logits.argmax(1), target)
        (binary, others), (teacher_binary, teacher_others) = (
            decoupled(o.logits.float() / self.temperature, classes) for o in (student, teacher)
        )
        return {
            "target_class": self.temperature**2 * divergence(binary, teacher_binary),
            "other_classes": self.temperature**2 * divergence(others, teacher_others),
        }


def decoupled(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (B, 2) of the target class and of all others together, and (B, C - 1) among the others."""
    target_logit = logits.gather(1, target[:, None])
    is_other = torch.ones_like(logits, dtype=torch.bool).scatter_(1, target[:, None], False)
    others = logits[is_other].view(len(logits), -1)
    binary = torch.cat([target_logit, others.logsumexp(1, keepdim=True)], dim=1)
    return F.log_softmax(binary, dim=1), F.log_softmax(others, 1)


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """KL(teacher || student) of log-probabilities (B, K), averaged over rows."""
    return F.kl_div(student, teacher, log_target=True, reduction="batchmean")
