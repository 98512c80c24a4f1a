import numpy as np
import pytest
import torch
from conftest import ROOT
from scipy.special import log_softmax, softmax

from decant import UserError, config
from decant.loss.kd import KD
from decant.task.classify import Classify

GENERATOR = torch.Generator().manual_seed(0)
CLASSIFY = Classify()
STUDENT, TEACHER = torch.randn(2, 6, 4, generator=GENERATOR)


def test_soft_divergence_agrees_with_float64_by_hand() -> None:
    t = 3.0
    p, q = STUDENT.numpy().astype(np.float64), TEACHER.numpy().astype(np.float64)
    by_hand = t**2 * (softmax(q / t, 1) * (log_softmax(q / t, 1) - log_softmax(p / t, 1))).sum(1).mean()
    assert CLASSIFY.divergence(STUDENT, TEACHER, t).item() == pytest.approx(by_hand, rel=1e-5)


def test_a_student_that_agrees_has_no_soft_loss() -> None:
    assert CLASSIFY.divergence(TEACHER, TEACHER, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_the_gradient_does_not_shrink_with_the_temperature() -> None:
    sizes = []
    for t in (10.0, 20.0):
        student = STUDENT.clone().requires_grad_()
        CLASSIFY.divergence(student, TEACHER, t).backward()
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_shapes_that_would_broadcast_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected equal shapes \(B, C\)"):
        KD(1.0, 0.1)(STUDENT, TEACHER[:1], CLASSIFY)


def test_a_teacher_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        KD(1.0, 0.1)(STUDENT, TEACHER.clone().fill_(float("nan")), CLASSIFY)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temperature_that_trains_nonsense_is_refused(temperature: float) -> None:
    with pytest.raises(UserError, match="temperature"):
        KD(temperature=temperature, hard_weight=0.1)


def test_rows_without_a_label_add_nothing_to_the_hard_loss() -> None:
    target = torch.tensor([0, 1, 2, -1, -1, -1])
    half = CLASSIFY.loss(STUDENT, target)
    assert half.item() == pytest.approx(CLASSIFY.loss(STUDENT[:3], target[:3]).item() / 2)


@pytest.mark.parametrize("name", sorted(f.stem for f in (ROOT / "conf/loss").glob("*.yaml")))
def test_every_loss_names_a_weight_for_each_term(name: str) -> None:
    loss = config.piece(config.load([f"use.loss={name}"], ROOT), "loss")
    terms = loss(STUDENT, TEACHER, CLASSIFY)
    assert set(loss.weights) == {"hard", *terms}
    assert all(term.dim() == 0 for term in terms.values())
