from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, log_expit, log_softmax, softmax
from support.experiments import component, experiment_of
from support.paths import ROOT

from decant.core.errors import UserError
from decant.loss import Loss, Output, weight_at
from decant.loss.attention import Attention
from decant.loss.checks import check_weights, uniform_layer_pairs
from decant.loss.dist import DIST
from decant.loss.dkd import DKD
from decant.loss.hint import Hint
from decant.loss.kd import KD
from decant.loss.mse import MSE
from decant.loss.relation import Relation
from decant.loss.sum import Sum
from decant.task import Objective
from decant.task.classify import Classify
from decant.task.multilabel import MultiLabel
from decant.task.regress import Regress

CLASSIFY, MULTILABEL, REGRESS = (task.objective for task in (Classify(), MultiLabel(0.5), Regress(0.0, 5.0)))
NAMES = sorted(f.stem for f in (ROOT / "conf/loss").glob("*.yaml"))
TAUGHT = [name for name in NAMES if name != "none"]
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]])
TARGET = torch.tensor([0, 2, -1, 1])
BOUND = 1e4
"""Of gradients that a network survives: those of a length of 0 would be 1e8 and more."""
Grow = Callable[[torch.Tensor], torch.Tensor]


def texts(seed: int, width: int = 6, layers: int = 2, heads: int = 2, mask: torch.Tensor = MASK) -> Output:
    """Of a transformer with weights of chance."""
    generator = torch.Generator().manual_seed(seed)
    rows, tokens = mask.shape
    scores = torch.randn(layers, rows, heads, tokens, tokens, generator=generator)
    attention = scores.masked_fill(mask[:, None, None] == 0, -torch.inf).softmax(-1)
    hidden = torch.randn(layers + 1, rows, tokens, width, generator=generator)
    return Output(3 * torch.randn(rows, 4, generator=generator), tuple(hidden), tuple(attention), mask)


def images(seed: int, *shapes: tuple[int, int, int], rows: int = 3) -> Output:
    """Of a convolutional network: maps of (width, height, breadth)."""
    generator = torch.Generator().manual_seed(seed)
    hidden = tuple(torch.randn(rows, *shape, generator=generator) for shape in shapes)
    return Output(torch.randn(rows, 4, generator=generator), hidden)


def changed(output: Output, change: Grow) -> Output:
    """With every tensor but the mask replaced."""
    hidden, attention = (tuple(change(x) for x in xs) for xs in (output.hidden, output.attention))
    return Output(change(output.logits), hidden, attention, output.mask)


def parts(output: Output) -> list[torch.Tensor]:
    return [output.logits, *output.hidden, *output.attention]


def leaves(output: Output) -> Output:
    return changed(output, lambda x: x.detach().clone().requires_grad_())


def double(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().astype(np.float64)


def bound(name: str, student: Output, teacher: Output) -> Loss:
    """The loss of conf/loss/<name>.yaml, ready for two networks."""
    torch.manual_seed(0)
    loss = component("loss", name)
    loss.bind(student, teacher, aligned=True)
    return loss


def terms_of(loss: Loss, student: Output, teacher: Output) -> dict[str, torch.Tensor]:
    """The terms, of four rows of several classes or less."""
    return loss(student, teacher, TARGET[: len(student.logits)], CLASSIFY)


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(terms.values())).sum()


def gradients(loss: Loss, student: Output, teacher: Output) -> list[torch.Tensor]:
    """Of the sum of the terms, for what the student gave."""
    student = leaves(student)
    total(terms_of(loss, student, teacher)).backward()
    return [x.grad for x in parts(student) if x.grad is not None]


# --- each term by hand, in float64


def kl(first: np.ndarray, second: np.ndarray) -> float:
    """KL(first || second) of probabilities (N, K), averaged over rows."""
    safe = np.where(first > 0, first, 1)
    return float((first * (np.log(safe) - np.log(np.where(first > 0, second, 1)))).sum(1).mean())


def standard(logits: np.ndarray) -> np.ndarray:
    return np.stack([(row - row.mean()) / row.std() for row in logits])


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("standardise", [False, True])
def test_kd_agrees_with_float64_by_hand(temperature: float, standardise: bool) -> None:
    student, teacher = texts(0), texts(1)
    result = terms_of(KD(temperature, 0.1, standardise), student, teacher)["soft"].item()
    p, q = (standard(double(o.logits)) if standardise else double(o.logits) for o in (student, teacher))
    logs = log_softmax(q / temperature, 1) - log_softmax(p / temperature, 1)
    by_hand = temperature**2 * (softmax(q / temperature, 1) * logs).sum(1).mean()
    assert result == pytest.approx(by_hand, rel=1e-5)


def test_dkd_agrees_with_probabilities_split_by_hand() -> None:
    student, teacher, t = texts(0), texts(1), 2.0
    teacher.logits[2, 3] = 9.0
    p, q = (softmax(double(o.logits) / t, 1) for o in (student, teacher))
    target = np.where(TARGET == -1, 3, TARGET)  # of the row without a label, the teacher's class
    mask = np.eye(4, dtype=bool)[target]
    binary = [np.stack([x[mask], (x * ~mask).sum(1)], 1) for x in (p, q)]
    others = [softmax(np.where(mask, -1000, double(o.logits) / t), 1) for o in (student, teacher)]
    result = terms_of(DKD(t, 1.0, 8.0, 1.0), student, teacher)
    assert result["target_class"].item() == pytest.approx(t**2 * kl(binary[1], binary[0]), rel=1e-5)
    assert result["other_classes"].item() == pytest.approx(t**2 * kl(others[1], others[0]), rel=1e-5)


def test_dkd_with_the_weights_of_its_paper_is_kd() -> None:
    """KD = target class + (1 - the teacher's probability of it) other classes, row by row (its equation 7)."""
    student, teacher = texts(0), texts(1)
    for row in range(4):
        one, two = (changed(o, lambda x, r=row: x[r : r + 1]) for o in (student, teacher))  # type: ignore[misc]
        target = torch.tensor([int(TARGET[row]) % 4])
        result = DKD(2.0, 1.0, 1.0, 0.0)(one, two, target, CLASSIFY)
        rest = 1 - (two.logits / 2).softmax(1)[0, target[0]]
        kd = KD(2.0, 0.0, False)(one, two, target, CLASSIFY)["soft"]
        torch.testing.assert_close(result["target_class"] + rest * result["other_classes"], kd)


def test_dkd_of_two_classes_has_nothing_to_say_of_the_others() -> None:
    student, teacher = (changed(texts(s), lambda x: x[..., :2]) for s in (0, 1))
    target = torch.tensor([0, 1, -1, 1])
    assert DKD(4.0, 1.0, 1.0, 1.0)(student, teacher, target, CLASSIFY)["other_classes"].item() == 0


def test_dist_agrees_with_corrcoef() -> None:
    student, teacher, t = texts(0), texts(1), 2.0
    p, q = (softmax(double(o.logits) / t, 1) for o in (student, teacher))
    rows = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p, q, strict=True)])
    columns = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)])
    result = terms_of(DIST(t, 1.0, 1.0, 1.0), student, teacher)
    assert result["inter_class"].item() == pytest.approx(t**2 * (1 - rows), rel=1e-5)
    assert result["intra_class"].item() == pytest.approx(t**2 * (1 - columns), rel=1e-5)


def test_dist_follows_a_class_however_improbable() -> None:
    student, teacher = texts(0), texts(1)
    for output in (student, teacher):
        output.logits[:, 3] -= 60
    p, q = (softmax(double(o.logits), 1) for o in (student, teacher))
    columns = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, q.T, strict=True)])
    assert terms_of(DIST(1.0, 1.0, 1.0, 1.0), student, teacher)["intra_class"].item() == pytest.approx(
        1 - columns, rel=1e-5
    )


def test_dist_leaves_out_what_the_teacher_says_of_all_alike() -> None:
    student, teacher, t = texts(0), texts(1), 2.0
    teacher.logits[1] = 7.0
    p, q = (softmax(double(o.logits) / t, 1) for o in (student, teacher))
    rows = np.mean([np.corrcoef(p[i], q[i])[0, 1] for i in (0, 2, 3)])
    result = terms_of(DIST(t, 1.0, 1.0, 1.0), student, teacher)["inter_class"].item()
    assert result == pytest.approx(t**2 * (1 - rows), rel=1e-5)


def by_mse(task: Objective, p: np.ndarray, q: np.ndarray) -> float:
    return float(((p - q) ** 2).mean() / (25 if task is REGRESS else 1))


def by_kd(task: Objective, p: np.ndarray, q: np.ndarray) -> float:
    if task is CLASSIFY:
        return float(4 * kl(softmax(q / 2, 1), softmax(p / 2, 1)))
    if task is REGRESS:
        return by_mse(task, p, q)
    yes, no = (expit(s * q / 2) * (log_expit(s * q / 2) - log_expit(s * p / 2)) for s in (1, -1))
    return float(4 * (yes + no).mean())


@pytest.mark.parametrize("task", [CLASSIFY, MULTILABEL, REGRESS], ids=lambda task: type(task).__name__)
@pytest.mark.parametrize(("loss", "by_hand"), [(MSE(1.0, 0.1), by_mse), (KD(2.0, 0.1, False), by_kd)])
def test_mse_and_kd_go_with_every_task(loss: Loss, by_hand: Callable[..., float], task: Objective) -> None:
    classes = 1 if task is REGRESS else 4
    student, teacher = (Output(texts(seed).logits[:, :classes]) for seed in (0, 1))
    (result,) = loss(student, teacher, TARGET, task).values()
    assert result.item() == pytest.approx(by_hand(task, double(student.logits), double(teacher.logits)), rel=1e-5)


def linear(layer: Any, rows: np.ndarray) -> np.ndarray:
    return rows @ double(layer.weight).T + double(layer.bias)


def over_rows(values: np.ndarray, mask: torch.Tensor) -> float:
    """The mean over rows of the mean over tokens, by loops."""
    return float(np.mean([np.mean([v for v, m in zip(row, row_mask, strict=True) if m])
                          for row, row_mask in zip(values, mask.tolist(), strict=True)]))  # fmt: skip


def test_hint_agrees_token_by_token_with_an_explicit_projection() -> None:
    student, teacher = texts(0, width=6, layers=2), texts(1, width=8, layers=4)
    loss = Hint(1.0, 1.0, [[1, 2], [2, 4]])
    loss.bind(student, teacher, aligned=True)
    by_hand = [
        over_rows(((linear(p, double(student.hidden[s])) - double(teacher.hidden[t])) ** 2).mean(2), MASK)
        for (s, t), p in zip([(1, 2), (2, 4)], loss.projections, strict=True)
    ]
    assert terms_of(loss, student, teacher)["hint"].item() == pytest.approx(np.mean(by_hand), rel=1e-5)


def pool(hidden: torch.Tensor, mask: torch.Tensor | None) -> np.ndarray:
    """The average over the tokens that are no padding, or over a map, by loops."""
    rows = double(hidden)
    if mask is None:
        return np.stack([row.reshape(len(row), -1).mean(1) for row in rows])
    return np.stack([row[row_mask.numpy() == 1].mean(0) for row, row_mask in zip(rows, mask, strict=True)])


def test_hint_compares_averages_where_tokens_are_not_aligned() -> None:
    other = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]])
    student, teacher = texts(0, layers=1), texts(1, width=8, layers=1, mask=other)
    loss = Hint(1.0, 1.0, [[1, 1]])
    loss.bind(student, teacher, aligned=False)
    projected = linear(loss.projections[0], pool(student.hidden[1], MASK))
    by_hand = ((projected - pool(teacher.hidden[1], other)) ** 2).mean()
    assert terms_of(loss, student, teacher)["hint"].item() == pytest.approx(by_hand, rel=1e-5)


def adaptive(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """(B, H, Y, X) to (B, y * x, H), cell by cell."""
    (height, breadth), cells = maps.shape[2:], []
    for y, x in product(*map(range, grid)):
        down = slice(int(np.floor(y * height / grid[0])), int(np.ceil((y + 1) * height / grid[0])))
        across = slice(int(np.floor(x * breadth / grid[1])), int(np.ceil((x + 1) * breadth / grid[1])))
        cells.append(maps[:, :, down, across].mean((2, 3)))
    return np.stack(cells, 1)


@pytest.mark.parametrize("grid", [(5, 7), (3, 3), (7, 4)])
def test_hint_averages_maps_to_the_smaller_grid(grid: tuple[int, int]) -> None:
    student, teacher = images(0, (4, 8, 8), (4, 5, 7)), images(1, (6, 8, 8), (6, *grid))
    loss = Hint(1.0, 1.0, [[1, 1]])
    loss.bind(student, teacher, aligned=True)
    smaller = (min(5, grid[0]), min(7, grid[1]))
    first, second = (adaptive(double(o.hidden[1]), smaller) for o in (student, teacher))
    by_hand = ((linear(loss.projections[0], first) - second) ** 2).mean()
    assert terms_of(loss, student, teacher)["hint"].item() == pytest.approx(by_hand, rel=1e-5)


def test_hint_on_maps_has_a_gradient_that_is_deterministic_on_a_gpu() -> None:
    student, teacher = leaves(images(0, (4, 8, 8), (4, 6, 6))), images(1, (6, 5, 5), (6, 4, 4))
    loss = Hint(1.0, 1.0, None)
    loss.bind(student, teacher, aligned=True)

    def steps(node: Any) -> Iterator[str]:
        yield type(node).__name__
        for parent, _ in node.next_functions:
            yield from steps(parent) if parent else ()

    # torch refuses it under deterministic=True
    assert not [name for name in steps(terms_of(loss, student, teacher)["hint"].grad_fn) if "AdaptiveAvgPool" in name]


@pytest.mark.parametrize("heads", [2, 4])
def test_attention_agrees_with_loops_over_rows_heads_and_tokens(heads: int) -> None:
    student, teacher = texts(0, heads=2, layers=2), texts(1, heads=heads, layers=4)
    loss = Attention(1.0, 1.0, [[0, 1], [1, 3]])
    loss.bind(student, teacher, aligned=True)
    by_hand = [attended(double(student.attention[s]), double(teacher.attention[t])) for s, t in ((0, 1), (1, 3))]
    assert terms_of(loss, student, teacher)["attention"].item() == pytest.approx(np.mean(by_hand), rel=1e-5)


def attended(p: np.ndarray, q: np.ndarray) -> float:
    if p.shape[1] != q.shape[1]:
        p, q = p.mean(1, keepdims=True), q.mean(1, keepdims=True)
    rows = []
    for row, length in enumerate(MASK.sum(1).tolist()):
        divergences = [kl(q[row, h, i : i + 1], p[row, h, i : i + 1]) for h in range(p.shape[1]) for i in range(length)]
        rows.append(np.mean(divergences))
    return float(np.mean(rows))


def huber(first: list[float], second: list[float]) -> float:
    difference = np.abs(np.array(first) - np.array(second))
    return float(np.where(difference < 1, difference**2 / 2, difference - 0.5).mean())


def relations(rows: np.ndarray) -> tuple[list[float], list[float]]:
    """Distances relative to their mean, and cosines at the second of three, over all pairs and triples."""
    every = range(len(rows))
    distances = [float(np.sqrt(((rows[i] - rows[j]) ** 2).sum())) for i, j in product(every, every)]
    mean = np.mean([d for d in distances if d > 0])
    cosines = []
    for i, j, k in product(every, every, every):
        a, b = rows[i] - rows[j], rows[k] - rows[j]
        cosines.append(0.0 if j in (i, k) else float(a @ b / np.sqrt((a @ a) * (b @ b))))
    return [float(d / mean) for d in distances], cosines


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        (texts(0, width=6), texts(1, width=8)),
        (texts(0), texts(1, mask=MASK[:, :3].clamp(min=1))),
        (images(0, (6, 4, 4)), images(1, (8, 7, 5))),
    ],
    ids=["tokens", "other tokens", "maps"],
)
def test_relation_agrees_with_loops_over_pairs_and_triples(student: Output, teacher: Output) -> None:
    result = terms_of(Relation(25.0, 50.0, 1.0), student, teacher)
    first, second = (relations(pool(o.hidden[-1], o.mask)) for o in (student, teacher))
    assert result["distance"].item() == pytest.approx(huber(first[0], second[0]), rel=1e-5)
    assert result["angle"].item() == pytest.approx(huber(first[1], second[1]), rel=1e-5)


# --- what holds for every loss of conf/loss/


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_names_a_weight_for_each_term(name: str) -> None:
    loss = bound(name, texts(0), texts(1, layers=4))
    terms = terms_of(loss, texts(0), texts(1, layers=4))
    for progress in (0.0, 0.5, 1.0):
        assert set(loss.weights(progress)) == {"hard", *terms}
        assert all(weight >= 0 for weight in loss.weights(progress).values())
    assert all(term.dim() == 0 for term in terms.values())


@pytest.mark.parametrize("name", TAUGHT)
def test_every_loss_refuses_a_teacher_that_is_not_finite(name: str) -> None:
    student, teacher = texts(0), texts(1)
    loss = bound(name, student, teacher)
    with pytest.raises(ValueError, match="not finite"):
        terms_of(loss, student, changed(teacher, lambda x: torch.full_like(x, float("nan"))))


@pytest.mark.parametrize("name", TAUGHT)
def test_every_loss_refuses_shapes_that_would_broadcast(name: str) -> None:
    student, teacher = texts(0), texts(1)
    loss = bound(name, student, teacher)
    with pytest.raises(ValueError, match="expected equal shapes"):
        terms_of(loss, student, changed(teacher, lambda x: x[:1]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("kind", [lambda t: KD(t, 0.1, False), lambda t: DKD(t, 1, 1, 1), lambda t: DIST(t, 1, 1, 1)])
def test_a_temperature_that_trains_nonsense_is_refused(kind: Callable[[float], Loss], temperature: float) -> None:
    with pytest.raises(UserError, match="temperature"):
        kind(temperature)


@pytest.mark.parametrize("name", [n for n in NAMES if "\ntemperature:" in (ROOT / f"conf/loss/{n}.yaml").read_text()])
def test_every_temperature_of_a_configuration_is_checked(name: str) -> None:
    with pytest.raises(UserError, match="temperature"):
        experiment_of(f"use.loss={name}", "loss.temperature=0")


@pytest.mark.parametrize("name", TAUGHT)
def test_every_loss_moves_the_student_and_not_the_teacher(name: str) -> None:
    student, teacher = leaves(texts(0)), leaves(texts(1))
    loss = bound(name, student, teacher)
    total(terms_of(loss, student, teacher)).backward()
    assert any(x.grad is not None and x.grad.any() for x in parts(student))
    assert all(x.grad is None for x in parts(teacher))


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_is_zero_where_student_and_teacher_agree(name: str) -> None:
    both = texts(0)
    for term in terms_of(bound(name, both, both), both, both).values():
        assert term.item() == pytest.approx(0, abs=1e-5)


def same_rows(x: torch.Tensor) -> torch.Tensor:
    return x[[0, 0, *range(2, len(x))]]


def one_row(x: torch.Tensor) -> torch.Tensor:
    return x[:1].expand_as(x)


def flat_logits(x: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(x) if x.dim() == 2 else x


@pytest.mark.parametrize("name", TAUGHT)
@pytest.mark.parametrize("change", [same_rows, one_row, flat_logits])
def test_every_gradient_survives(name: str, change: Grow) -> None:
    """Rows that are the same, all of them, and a new head that says nothing."""
    student, teacher = changed(texts(0), change), texts(1)
    student.mask = teacher.mask = torch.ones_like(MASK)
    result = gradients(bound(name, student, teacher), student, teacher)
    assert result
    assert all(g.isfinite().all() and g.norm() < BOUND for g in result)


@pytest.mark.parametrize("name", TAUGHT)
@pytest.mark.parametrize("change", [same_rows, one_row, flat_logits])
def test_every_loss_bears_a_teacher_that_says_the_same_of_rows(name: str, change: Grow) -> None:
    student, teacher = texts(0), changed(texts(1), change)
    loss = bound(name, student, teacher)
    assert all(term.isfinite() for term in terms_of(loss, student, teacher).values())
    assert all(g.isfinite().all() and g.norm() < BOUND for g in gradients(loss, student, teacher))
    assert all(term.item() == pytest.approx(0, abs=1e-5) for term in terms_of(loss, teacher, teacher).values())


@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("loss", [KD(4.0, 0.1, True), DIST(4.0, 1.0, 1.0, 1.0)], ids=["standardised", "dist"])
def test_what_is_divided_by_a_deviation_survives_one_of_zero(loss: Loss, classes: int) -> None:
    sliced = changed(texts(0), lambda x: x[..., :classes])
    flat = changed(sliced, torch.zeros_like)
    for student, teacher in ((flat, sliced), (sliced, flat), (flat, flat)):
        assert all(0 <= term.item() < BOUND for term in terms_of(loss, student, teacher).values())
        assert all(g.isfinite().all() and g.norm() < BOUND for g in gradients(loss, student, teacher))


def test_relation_takes_rows_that_differ_by_rounding_alone_for_the_same() -> None:
    student, teacher = texts(0), texts(1)
    exact, rounded = (changed(student, same_rows) for _ in range(2))
    rounded.hidden[-1][1] *= 1 + 1e-6
    loss = Relation(1.0, 1.0, 1.0)
    exact.mask = rounded.mask = torch.ones_like(MASK)
    for term, value in terms_of(loss, rounded, teacher).items():
        assert value.item() == pytest.approx(terms_of(loss, exact, teacher)[term].item(), rel=1e-4)
    sizes = [gradients(loss, student, teacher)[0].norm().item() for student in (rounded, exact)]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-3)


@pytest.mark.parametrize("name", ["hint", "relation"])
def test_a_mask_of_other_rows_is_refused(name: str) -> None:
    student, teacher = texts(0), texts(1)
    loss = bound(name, student, teacher)
    student.mask = MASK[:1]
    with pytest.raises(ValueError, match="a mask"):
        terms_of(loss, student, teacher)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("name", TAUGHT)
def test_every_loss_bears_a_batch_of_few_rows(name: str, rows: int) -> None:
    student, teacher = texts(0, mask=MASK[:rows]), texts(1, mask=MASK[:rows])
    loss = bound(name, student, teacher)
    assert all(0 <= term.item() < BOUND for term in terms_of(loss, student, teacher).values())
    assert all(g.isfinite().all() and g.norm() < BOUND for g in gradients(loss, student, teacher))


@pytest.mark.parametrize("name", TAUGHT)
def test_every_loss_leaves_padding_alone(name: str) -> None:
    """Attention is 0 there, and what states say does not count."""
    student, teacher = leaves(texts(0)), texts(1)
    loss = bound(name, student, teacher)
    before = terms_of(loss, student, teacher)
    total(before).backward()
    padding = MASK == 0
    for x in student.hidden:
        assert x.grad is None or (x.grad.isfinite().all() and not x.grad[padding].any())
    for x in student.attention:
        assert x.grad is None or (x.grad.isfinite().all() and not x.grad.transpose(1, 2)[padding].any())
    noisy = changed(student, lambda x: torch.where(padding[..., None], 9.0, x) if x.dim() == 3 else x)
    for term, value in terms_of(loss, noisy, teacher).items():
        assert value.item() == pytest.approx(before[term].item(), rel=1e-5)


@pytest.mark.parametrize("name", TAUGHT)
def test_every_loss_works_in_bfloat16(name: str) -> None:
    student, teacher = (changed(texts(s), lambda x: x.bfloat16()) for s in (0, 1))
    loss = bound(name, student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        terms = terms_of(loss, student, teacher)
        result = gradients(loss, student, teacher)
    expected = terms_of(loss, changed(student, torch.Tensor.float), changed(teacher, torch.Tensor.float))
    for term, value in terms.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[term].item(), rel=1e-2 if "hint" in term else 1e-5)
    assert all(g.isfinite().all() for g in result)


def test_the_gradient_of_kd_does_not_shrink_with_the_temperature() -> None:
    sizes = [gradients(KD(t, 0.1, False), texts(0), texts(1))[0].norm().item() for t in (20.0, 40.0)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


def test_rows_without_a_label_add_nothing_to_the_hard_loss() -> None:
    logits, target = texts(0).logits, torch.tensor([0, 1, -1, -1])
    half = CLASSIFY.loss(logits, target)
    assert half.item() == pytest.approx(CLASSIFY.loss(logits[:2], target[:2]).item() / 2)


# --- weights


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.2), (0.5, 0.4), (1.0, 0.6), (-1.0, 0.2), (2.0, 0.6)])
def test_a_weight_moves_in_a_straight_line(progress: float, weight: float) -> None:
    assert weight_at([0.2, 0.6], progress) == pytest.approx(weight)
    assert weight_at(0.3, progress) == 0.3
    assert KD(4.0, [0.2, 0.6], False).weights(progress) == pytest.approx({"soft": 1 - weight, "hard": weight})
    assert DKD(4.0, 1.0, [0.2, 0.6], 0.5).weights(progress) == pytest.approx(
        {"target_class": 1.0, "other_classes": weight, "hard": 0.5}
    )


@pytest.mark.parametrize(
    "weight", [-1.0, float("nan"), float("inf"), [1.0], [1.0, -1.0], [0.0, 1.0, 2.0], [], "much", "1", None]
)
@pytest.mark.parametrize("name", ["beta", "hard_weight"])
def test_what_is_no_weight_is_refused_by_name(name: str, weight: Any) -> None:
    with pytest.raises(UserError, match=rf"^{name} is .*expected a number of 0 or more, or \[start, end\]$"):
        check_weights(**{"alpha": 1.0, name: weight})


def test_all_bad_weights_are_named_at_once() -> None:
    with pytest.raises(UserError) as result:
        DIST(4.0, -1.0, "much", float("nan"))  # type: ignore[arg-type]
    assert [p.split(" is ")[0] for p in result.value.problems] == ["beta", "gamma", "hard_weight"]


@pytest.mark.parametrize("weight", [0, 0.0, [0.0, 0.0]])
def test_a_teacher_without_a_say_is_refused(weight: Any) -> None:
    with pytest.raises(UserError, match=r"distance is .*, angle is .*loss none"):
        Relation(weight, weight, 1.0)
    with pytest.raises(UserError, match=r"weight is .*loss none"):
        MSE(weight, 1.0)


def test_one_of_several_terms_can_be_left_out() -> None:
    assert Relation(25.0, 0.0, 1.0).weights(0.5) == {"distance": 25.0, "angle": 0.0, "hard": 1.0}
    assert MSE([0.0, 1.0], 0.0).weights(1.0) == {"mse": 1.0, "hard": 0.0}


@pytest.mark.parametrize("weight", [1.0, 1.5, [0.5, 2.0], [1.0, 1.0], -0.1])
def test_a_hard_weight_that_leaves_kd_nothing_is_refused(weight: Any) -> None:
    with pytest.raises(UserError, match="hard_weight"):
        KD(4.0, weight, False)


# --- sum


def test_a_sum_is_the_weighted_sum_by_hand_and_its_weights_move() -> None:
    student, teacher = texts(0), texts(1)
    first, second = KD(2.0, [0.0, 0.5], False), Relation(2.0, 3.0, 0.5)
    loss = Sum({"kd": first, "relation": second}, {"kd": 2.0, "relation": [1.0, 0.0]})
    terms = terms_of(loss, student, teacher)
    hard = CLASSIFY.loss(student.logits, TARGET).item()
    soft, others = terms_of(first, student, teacher)["soft"].item(), terms_of(second, student, teacher)
    related = 2.0 * others["distance"].item() + 3.0 * others["angle"].item() + 0.5 * hard
    for progress, own_hard, share in ((0.0, 0.0, 1.0), (0.5, 0.25, 0.5), (1.0, 0.5, 0.0)):
        weights = loss.weights(progress)
        result = weights["hard"] * hard + sum(weights[k] * v.item() for k, v in terms.items())
        by_hand = 2.0 * ((1 - own_hard) * soft + own_hard * hard) + share * related
        assert result == pytest.approx(by_hand, rel=1e-6)


def test_a_sum_needs_what_its_losses_need() -> None:
    kd, relation = KD(2.0, 0.1, True), Relation(1.0, 1.0, 1.0)
    assert Sum({"a": relation, "b": kd}, {"a": 1.0, "b": 1.0}).needs == ("logits", "hidden")
    assert Sum({"a": relation, "b": kd}, {"a": 1.0, "b": 1.0}).single_label
    assert not Sum({"a": relation, "b": MSE(1.0, 1.0)}, {"a": 1.0, "b": 1.0}).single_label


def test_the_projections_of_a_sum_are_among_its_parameters() -> None:
    loss = bound("sum", texts(0), texts(1, width=8, layers=4))
    assert [tuple(p.shape) for p in loss.parameters()] == [(8, 6), (8,)] * 3


@pytest.mark.parametrize("weight", [{"kd": 1.0}, {"kd": 1.0, "mse": 1.0, "hint": 1.0}, {"kd": 1.0, "MSE": 1.0}, {}])
def test_a_sum_of_other_names_than_its_weights_is_refused(weight: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="expected the same names"):
        Sum({"kd": KD(2.0, 0.1, False), "mse": MSE(1.0, 1.0)}, weight)


def test_a_sum_of_one_is_refused() -> None:
    with pytest.raises(UserError, match="two or more"):
        Sum({"kd": KD(2.0, 0.1, False)}, {"kd": 1.0})


def test_the_weights_of_a_sum_are_checked_by_name() -> None:
    with pytest.raises(UserError, match="mse is -1"):
        Sum({"kd": KD(2.0, 0.1, False), "mse": MSE(1.0, 1.0)}, {"kd": 1.0, "mse": -1})


# --- layers


@pytest.mark.parametrize(
    ("student", "teacher", "layers"),
    [(4, 12, [2, 5, 8, 11]), (2, 6, [2, 5]), (3, 3, [0, 1, 2]), (1, 6, [5]), (6, 2, [0, 0, 0, 0, 1, 1])],
)
def test_layers_are_spread_evenly(student: int, teacher: int, layers: list[int]) -> None:
    assert uniform_layer_pairs(student, teacher) == list(enumerate(layers))


def test_every_layer_has_one_of_the_teacher_and_the_last_has_the_last() -> None:
    for student, teacher in product(range(1, 13), range(1, 13)):
        result = [t for _, t in uniform_layer_pairs(student, teacher)]
        assert result == sorted(result)
        assert result[0] >= 0
        assert result[-1] == teacher - 1


def test_automatic_layers_take_the_embedding_too_where_states_are_compared() -> None:
    student, teacher = texts(0, layers=2), texts(1, layers=6)
    hint, attention = Hint(1.0, 1.0, None), Attention(1.0, 1.0, None)
    for loss in (hint, attention):
        loss.bind(student, teacher, aligned=True)
    assert hint.pairs == [(0, 0), (1, 3), (2, 6)]
    assert attention.pairs == [(0, 2), (1, 5)]


@pytest.mark.parametrize("kind", [Hint, Attention])
def test_a_student_deeper_than_its_teacher_has_layers_for_all(kind: Any) -> None:
    student, teacher = texts(0, layers=5), texts(1, layers=1)
    loss = kind(1.0, 1.0, None)
    loss.bind(student, teacher, aligned=True)
    assert all(term.isfinite() for term in terms_of(loss, student, teacher).values())


@pytest.mark.parametrize("layers", [[[3, 0]], [[0, 5]], [[-1, 0]], [[0, 1], [0, -1]]])
@pytest.mark.parametrize("kind", [Hint, Attention])
def test_layers_that_a_network_lacks_are_refused(kind: Any, layers: list[list[int]]) -> None:
    with pytest.raises(UserError, match=r"student has layers 0 to \d and the teacher 0 to \d"):
        kind(1.0, 1.0, layers).bind(texts(0, layers=2), texts(1, layers=4), aligned=True)


@pytest.mark.parametrize("layers", [[], [1, 2], [[1]], [[1, 2, 3]], [["a", "b"]], "all", 3, [[0.5, 1]]])
@pytest.mark.parametrize("kind", [Hint, Attention])
def test_layers_that_are_no_pairs_are_refused(kind: Any, layers: Any) -> None:
    with pytest.raises(UserError, match="expected pairs"):
        kind(1.0, 1.0, layers)


def test_attention_refuses_tokens_that_are_not_aligned() -> None:
    with pytest.raises(UserError, match="split texts or images in different ways"):
        Attention(1.0, 1.0, None).bind(texts(0), texts(1), aligned=False)


def test_a_projection_starts_as_the_identity_where_widths_agree() -> None:
    loss = Hint(1.0, 1.0, [[1, 1]])
    loss.bind(texts(0), texts(1), aligned=True)
    assert torch.equal(loss.projections[0].weight, torch.eye(6))
    loss.bind(texts(0), texts(1, width=8), aligned=True)
    assert loss.projections[0].weight.shape == (8, 6)
    assert all(p.requires_grad for p in loss.parameters())
