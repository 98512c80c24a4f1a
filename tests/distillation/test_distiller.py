"""What each term contributes, how its weight moves, and an online teacher that training leaves unchanged."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from decant.adapt.full import Full
from decant.augment.none import NoAugmentation
from decant.config.schema import PretrainLoad
from decant.core.errors import UserError
from decant.distillation import online_teacher
from decant.distillation.distiller import Distiller, disable_attention_dropout
from decant.distillation.online_teacher import OnlineTeacher
from decant.loss import Loss, Output
from decant.loss.attention import Attention
from decant.loss.kd import KD
from decant.task.classify import Classify

SIZES = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "num_labels": 3, "num_hidden_layers": 2}
HPARAMS = PretrainLoad(
    epochs=1, lr=1e-3, batch_size=2, max_length=8, warmup=0.0, weight_decay=0.0, clip=1.0, label_smoothing=0.0, ema=0.0
)
BATCH = {
    "input_ids": torch.tensor([[1, 2, 3, 0], [3, 2, 1, 4]]),
    "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]),
    "target": torch.tensor([0, 2]),
    "soft": torch.tensor([[2.0, 0.0, -1.0], [-1.0, 0.0, 1.0]]),
}


def network(**changes: Any) -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(BertConfig(vocab_size=6, **(SIZES | changes)))


class Inputs:
    """Batches as they are."""

    def inputs(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {k: batch[k] for k in ("input_ids", "attention_mask")}


def build_learner(loss: Loss, monkeypatch: pytest.MonkeyPatch, progress: float = 0.0) -> Distiller:
    distiller = Distiller(
        network().eval(), Inputs(), Classify().objective, HPARAMS, 1e-3, Full(), NoAugmentation(), loss=loss
    )
    distiller.network.eval()
    monkeypatch.setattr(Distiller, "global_step", property(lambda self: int(100 * progress)))
    distiller.total_steps = 100
    return distiller


def test_the_loss_is_the_weighted_sum_of_its_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = build_learner(KD(2.0, 0.25, False), monkeypatch)
    terms = distiller.terms(distiller(BATCH), BATCH)
    assert terms["soft_weighted"].item() == pytest.approx(0.75 * terms["soft"].item())
    assert terms["hard_weighted"].item() == pytest.approx(0.25 * terms["hard"].item())
    assert terms["loss"].item() == pytest.approx(terms["soft_weighted"].item() + terms["hard_weighted"].item())


@pytest.mark.parametrize("progress", [0.0, 0.5, 1.0])
def test_weights_move_with_the_share_of_steps_that_is_done(progress: float, monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = build_learner(KD(2.0, [0.0, 0.8], False), monkeypatch, progress)
    terms = distiller.terms(distiller(BATCH), BATCH)
    assert terms["hard_weighted"].item() == pytest.approx(0.8 * progress * terms["hard"].item())


def test_the_logged_norm_is_that_of_the_gradient_of_the_weighted_term(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = build_learner(KD(2.0, 0.25, False), monkeypatch)
    distiller.inspect(distiller.terms(distiller(BATCH), BATCH), 0)
    for name in ("soft", "hard"):
        distiller.zero_grad()
        distiller.terms(distiller(BATCH), BATCH)[f"{name}_weighted"].backward()
        norm = torch.cat([p.grad.flatten() for p in distiller.network.parameters() if p.grad is not None]).norm()
        logged = distiller.train_metrics.means[f"{name}_gradient"].compute()
        assert float(logged) == pytest.approx(norm.item(), rel=1e-4)


def test_measuring_gradients_leaves_none_behind_and_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = build_learner(KD(2.0, 0.25, False), monkeypatch)
    for index in range(150):
        distiller.inspect(distiller.terms(distiller(BATCH), BATCH), index)
    assert all(p.grad is None for p in distiller.parameters())
    assert {len(v) for v in distiller.gradient_norms.values()} == {2}


def test_a_term_that_contributes_nothing_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = build_learner(KD(2.0, 0.0001, False), monkeypatch)
    distiller.inspect(distiller.terms(distiller(BATCH), BATCH), 0)
    assert len(distiller.ineffective_terms()) == 1
    assert "the term hard contributes 0.0" in distiller.ineffective_terms()[0]
    distiller = build_learner(KD(2.0, 0.5, False), monkeypatch)
    distiller.inspect(distiller.terms(distiller(BATCH), BATCH), 0)
    assert distiller.ineffective_terms() == []


def test_a_term_of_weight_nothing_is_no_surprise(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = build_learner(KD(2.0, 0.0, False), monkeypatch)
    distiller.inspect(distiller.terms(distiller(BATCH), BATCH), 0)
    assert distiller.ineffective_terms() == []


class FixedTeacher(OnlineTeacher):
    """A teacher from a network in memory."""

    def __init__(self, teacher: BertForSequenceClassification) -> None:
        self.network, self.encoder, self.token_map, self.items = teacher.requires_grad_(False), Inputs(), None, []


def test_an_online_teacher_gives_no_gradient_and_stays_as_it_is() -> None:
    teacher = FixedTeacher(network().train())
    before = {k: v.clone() for k, v in teacher.network.state_dict().items()}
    loss = KD(2.0, 0.1, False)
    distiller = Distiller(
        network(), Inputs(), Classify().objective, HPARAMS, 1e-3, Full(), NoAugmentation(), loss=loss, teacher=teacher
    )
    distiller.trainer = None
    distiller.total_steps = 1
    distiller.train()
    distiller.terms(distiller(BATCH), BATCH)["loss"].backward()
    assert not teacher.network.training
    assert all(torch.equal(v, before[k]) for k, v in teacher.network.state_dict().items())
    assert not any("teacher" in name for name in distiller.state_dict())
    assert not distiller.outputs[1].logits.requires_grad


def test_attention_is_compared_without_dropout_of_its_own() -> None:
    student = network(attention_probs_dropout_prob=0.5, attn_implementation="eager")
    student.set_attn_implementation("eager")
    disable_attention_dropout(student.train())
    inputs = Inputs().inputs(BATCH)
    found = [online_teacher.network_output(student, inputs, ("attention",)).attention[0] for _ in range(2)]
    mask = BATCH["attention_mask"][:, None, :, None]
    torch.testing.assert_close(found[0].sum(3, keepdim=True) * mask, torch.ones(2, 2, 4, 1) * mask)
    assert student.bert.embeddings.dropout.p == 0.1


def test_the_same_network_attends_alike() -> None:
    both = [online_teacher.network_output(n, Inputs().inputs(BATCH), ("logits", "attention")) for n in eager(2)]
    loss = Attention(1.0, 0.0, None)
    loss.bind(*both, aligned=True)
    assert loss(*both, BATCH["target"], Classify().objective)["attention"].item() == pytest.approx(0, abs=1e-6)


def eager(count: int) -> list[BertForSequenceClassification]:
    networks = [network().eval() for _ in range(count)]
    for model in networks:
        model.set_attn_implementation("eager")
    return networks


def tokenizer(words: list[str]) -> Any:
    model = models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="?")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), unk_token="?", pad_token="?")
    return SimpleNamespace(processor=tokenizer)


def test_tokens_of_a_smaller_vocabulary_are_translated() -> None:
    table = online_teacher.token_map(tokenizer(["?", "b", "d"]), tokenizer(["?", "a", "b", "c", "d"]))
    assert table is not None
    assert table.tolist() == [0, 2, 4]


def test_tokens_that_the_teacher_lacks_have_no_translation() -> None:
    assert online_teacher.token_map(tokenizer(["?", "x"]), tokenizer(["?", "a"])) is None


def states(*shape: int) -> Output:
    return Output(torch.zeros(1, 2), hidden=(torch.zeros(shape),))


@pytest.mark.parametrize(
    ("student", "teacher", "wanted"),
    [
        (states(2, 5, 8), states(2, 5, 16), True),
        (states(2, 5, 8), states(2, 6, 8), False),
        (states(2, 8, 4, 4), states(2, 16, 7, 7), True),
        (states(2, 5, 8), states(2, 16, 7, 7), False),
    ],
    ids=["tokens", "other tokens", "maps", "tokens and maps"],
)
def test_states_are_compared_position_by_position_only_where_positions_match(
    student: Output, teacher: Output, wanted: bool
) -> None:
    assert online_teacher.are_aligned(student, teacher) is wanted


def test_several_teachers_cannot_run_online(tmp_path: Any) -> None:
    with pytest.raises(UserError, match="only their stored predictions can be combined"):
        OnlineTeacher(tmp_path, SimpleNamespace(), SimpleNamespace())


def test_terms_of_a_mixture_are_mixed_by_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller = build_learner(KD(2.0, 0.25, False), monkeypatch)
    rows = torch.tensor([1, 0])
    mixed = distiller.mixed_terms(distiller(BATCH), BATCH | {"partner": rows, "share": torch.tensor(0.25)})
    own = distiller.terms(distiller(BATCH), BATCH)["soft"]
    partner = BATCH | {"soft": BATCH["soft"][rows], "target": BATCH["target"][rows]}
    other = distiller.terms(distiller(BATCH), partner)["soft"]
    assert np.isclose(mixed["soft"].item(), 0.25 * own.item() + 0.75 * other.item())
