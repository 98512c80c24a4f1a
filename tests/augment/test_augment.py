import io
import math
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.special import log_softmax, softmax
from support.paths import ROOT
from torch import nn
from transformers import AutoModelForSequenceClassification, BertConfig

from decant.augment import Augment
from decant.augment import trivial as trivial_module
from decant.augment.chain import Chain
from decant.augment.crop import Crop
from decant.augment.cutmix import CutMix
from decant.augment.erasing import Erasing
from decant.augment.fgm import FGM, perturbation
from decant.augment.flip import Flip
from decant.augment.jitter import Jitter
from decant.augment.mixup import Mixup
from decant.augment.none import NoAugmentation
from decant.augment.r_drop import RDrop, disagreement
from decant.augment.rotate import Rotate
from decant.augment.trivial import Trivial
from decant.augment.word_dropout import WordDropout
from decant.augment.word_swap import WordSwap
from decant.core.errors import UserError

Batch = dict[str, torch.Tensor]
FILES = {f.stem: f for f in sorted((ROOT / "conf/augment").glob("*.yaml"))}
CLS, SEP, MASK = 101, 102, 103


def load(name: str) -> Augment:
    return bound(instantiate(OmegaConf.load(FILES[name]), _convert_="all"))


def bound(piece: Augment) -> Augment:
    """After a look at the encoder of BERT."""
    processor = SimpleNamespace(mask_token_id=MASK, unk_token_id=100)
    piece.bind(SimpleNamespace(processor=processor))  # type: ignore[arg-type]
    return piece


def images(rows: int = 8, height: int = 40, width: int = 32, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.rand(rows, 3, height, width, generator=generator)
    pixels[0, :, :4] = 1.0  # the ends of the range are there
    pixels[0, :, -4:] = 0.0
    return {"pixels": pixels, "target": torch.arange(rows) % 3}


def texts(rows: int = 8, width: int = 24, seed: int = 0) -> Batch:
    """Rows of 2 and more tokens, [CLS] first, [SEP] last, then padding."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(200, 300, (rows, width), generator=generator)
    mask = torch.zeros_like(ids)
    for i in range(rows):
        length = max(2, width - 3 * i)
        mask[i, :length], ids[i, 0], ids[i, length - 1], ids[i, length:] = 1, CLS, SEP, 0
    return {"input_ids": ids, "attention_mask": mask, "target": torch.arange(rows) % 3}


def batches(piece: Augment) -> list[Batch]:
    both = {"image": images(), "text": texts()}
    return [both[piece.modality]] if piece.modality else list(both.values())


def run(piece: Augment, batch: Batch, seed: int) -> Batch:
    torch.manual_seed(seed)
    return piece(batch)


def equal(a: Batch, b: Batch) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def bert(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        num_labels=3, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, initializer_range=0.3,
    )  # fmt: skip
    return AutoModelForSequenceClassification.from_config(config).train()


@dataclass
class Training:
    """A step as the learner takes it, with the cross-entropy as its only loss."""

    network: Any

    def logits(self, batch: Batch) -> torch.Tensor:
        return self.network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits

    def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return F.cross_entropy(logits, batch["target"])

    def extra(self, piece: Augment, batch: Batch) -> dict[str, torch.Tensor]:
        logits = self.logits(batch)
        return piece.extra(self, batch, logits, self.loss(logits, batch))


# every piece, by its yaml


@pytest.mark.parametrize("name", FILES)
def test_the_seed_alone_decides_what_is_drawn(name: str) -> None:
    piece = load(name)
    for batch in batches(piece):
        once = run(piece, batch, seed=1)
        assert equal(once, run(piece, batch, seed=1))
        assert equal(once, run(load(name), batch, seed=1))  # no batch depends on the one before
        changes = type(piece).forward is not Augment.forward
        assert equal(once, run(piece, batch, seed=2)) != changes


@pytest.mark.parametrize("name", FILES)
def test_a_batch_keeps_its_form_and_the_given_one_is_left_alone(name: str) -> None:
    piece = load(name)
    for batch in batches(piece):
        before = {k: v.clone() for k, v in batch.items()}
        after = piece(batch)
        assert equal(batch, before)
        assert after is not batch
        assert after.keys() - batch.keys() == ({"partner", "share"} if piece.mixes_rows else set())
        for key, value in before.items():
            assert after[key].shape == value.shape
            assert after[key].dtype == value.dtype
        assert torch.equal(after["target"], before["target"])


@pytest.mark.parametrize("name", [n for n in FILES if load(n).modality != "text"])
def test_pixels_stay_in_the_range_and_in_their_dtype(name: str) -> None:
    piece = load(name)
    for seed in range(10):
        pixels = run(piece, images(seed=seed), seed)["pixels"]
        assert 0 <= pixels.min() <= pixels.max() <= 1  # also: none is NaN
    half = {"pixels": images()["pixels"].bfloat16()}
    assert piece(half)["pixels"].dtype == torch.bfloat16


@pytest.mark.parametrize("name", [n for n in FILES if load(n).modality != "text"])
def test_mixed_precision_does_not_change_the_pixels(name: str) -> None:
    exact = run(load(name), images(), seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert equal(run(load(name), images(), seed=1), exact)


@pytest.mark.parametrize("name", [n for n in FILES if load(n).modality != "image"])
def test_special_tokens_and_padding_stay(name: str) -> None:
    piece, batch = load(name), texts()
    last = batch["attention_mask"].sum(1) - 1
    for seed in range(10):
        ids = run(piece, batch, seed)["input_ids"]
        assert (ids[:, 0] == CLS).all()
        assert (ids[torch.arange(len(ids)), last] == SEP).all()
        assert (ids[batch["attention_mask"] == 0] == 0).all()


@pytest.mark.parametrize("piece", [bound(WordDropout(0.99)), WordSwap(0.99)])
def test_the_separator_between_two_texts_stays(piece: Augment) -> None:
    ids = torch.tensor([[CLS, 7, 8, SEP, 9, 10, SEP, 0]])
    batch = {"input_ids": ids, "attention_mask": (ids != 0).long(), "target": torch.tensor([1])}
    for seed in range(10):
        assert run(piece, batch, seed)["input_ids"][0, 3] == SEP


@pytest.mark.parametrize("name", FILES)
def test_there_is_nothing_for_an_optimizer_or_a_checkpoint(name: str) -> None:
    piece = load(name)
    for batch in batches(piece):
        piece(batch)
    assert not list(piece.parameters())
    assert not piece.state_dict()


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_printed(name: str) -> None:
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        piece = load(name)
        for batch in batches(piece):
            piece(batch)
    assert not out.getvalue()


@pytest.mark.parametrize("name", FILES)
def test_a_yaml_is_short_and_says_what_it_is(name: str) -> None:
    lines = FILES[name].read_text().splitlines()
    assert lines[0].startswith("# ")
    assert len(lines) <= 12
    assert all(len(line) <= 120 for line in lines)


@pytest.mark.parametrize("name", [n for n in FILES if load(n).modality != "image"])
def test_extra_terms_are_scalars_with_a_gradient(name: str) -> None:
    step, batch = Training(bert(dropout=0.1)), texts()
    terms = step.extra(load(name), batch)
    for term in terms.values():
        assert term.dim() == 0
        assert torch.isfinite(term)
    if terms:
        sum(terms.values(), torch.zeros(())).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in step.network.parameters())


# images


def test_flip_mirrors_whole_rows_and_about_as_many_as_asked() -> None:
    batch = {"pixels": images(rows=401, height=4, width=5)["pixels"][1:]}  # the first row is its own mirror image
    after = run(Flip(0.3), batch, seed=0)["pixels"]
    mirrored = (after == torch.flip(batch["pixels"], [3])).flatten(1).all(1)
    same = (after == batch["pixels"]).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert mirrored.float().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 400))


def test_flip_with_certainty_is_torch_flip() -> None:
    batch = images()
    assert torch.equal(Flip(1.0)(batch)["pixels"], torch.flip(batch["pixels"], [3]))


def test_a_crop_of_the_whole_changes_nothing() -> None:
    batch = images(height=32, width=32)
    torch.testing.assert_close(Crop([1.0, 1.0], [1.0, 1.0])(batch)["pixels"], batch["pixels"])


def test_a_crop_shows_a_part_of_the_size_asked_for() -> None:
    ramp = torch.linspace(0, 1, 64).expand(200, 3, 64, 64)
    after = run(Crop([0.25, 0.25], [1.0, 1.0]), {"pixels": ramp}, seed=0)["pixels"]
    seen = after.amax((1, 2, 3)) - after.amin((1, 2, 3))
    assert (seen - 0.5).abs().max().item() < 0.03


def test_rotate_stays_within_its_degrees_and_leaves_the_centre() -> None:
    bar = torch.zeros(100, 3, 65, 65)
    bar[:, :, 32, 32:] = 1  # from the centre to the right
    after = run(Rotate(30.0), {"pixels": bar}, seed=0)["pixels"][:, 0]
    offset = torch.arange(65.0) - 32
    y, x = (after * offset[:, None]).sum((1, 2)), (after * offset).sum((1, 2))
    angles = torch.rad2deg(torch.atan2(y, x))
    assert 25 < angles.abs().max().item() < 30.5
    assert angles.min().item() < -20 < 20 < angles.max().item()
    assert (after[:, 32, 32] > 0.4).all()


def test_brightness_multiplies_by_a_factor_of_its_own_for_each_row() -> None:
    pixels = torch.full((50, 3, 4, 4), 0.5)
    factor = run(Jitter(0.2, 0.0, 0.0, 0.0), {"pixels": pixels}, seed=0)["pixels"] / pixels
    assert torch.allclose(factor, factor[:, :1, :1, :1])
    assert 0.8 <= factor.min() < 0.85 < 1.15 < factor.max() <= 1.2


def test_no_jitter_changes_nothing() -> None:
    torch.testing.assert_close(Jitter(0.0, 0.0, 0.0, 0.0)(images())["pixels"], images()["pixels"])


def test_erasing_greys_one_rectangle_of_the_size_asked_for() -> None:
    batch = {"pixels": torch.ones(100, 3, 40, 40)}
    grey = run(Erasing(1.0, [0.1, 0.2], [0.5, 2.0], 0.25), batch, seed=0)["pixels"] == 0.25
    assert (grey[:, 0] == grey[:, 1]).all()
    rows, columns = grey[:, 0].any(2).sum(1), grey[:, 0].any(1).sum(1)
    assert torch.equal(rows * columns, grey[:, 0].sum((1, 2)))
    share = rows * columns / 1600
    assert 0.08 < share.min() <= share.max() < 0.22


def test_trivial_draws_for_each_image_alone() -> None:
    batch = {"pixels": images(rows=1)["pixels"].expand(200, -1, -1, -1)}
    after = run(Trivial(1.0), batch, seed=0)["pixels"]
    assert len(after.unique(dim=0)) > 100
    same = (after == batch["pixels"]).flatten(1).all(1).float().mean()
    assert 0.05 < same < 0.35  # identity is one of 14; the image has the full range, so autocontrast is another


@pytest.mark.parametrize("index", range(len(trivial_module.OPERATIONS)))
def test_every_operation_of_trivial_works_at_both_ends_and_on_one_row(index: int) -> None:
    operation = trivial_module.OPERATIONS[index]
    pixels = images(rows=3)["pixels"]
    strength = torch.tensor([-1.0, 0.0, 1.0])
    after = operation(pixels, strength).clamp(0, 1)
    assert torch.isfinite(after).all()
    torch.testing.assert_close(operation(pixels[2:], strength[2:]).clamp(0, 1), after[2:], atol=1e-5, rtol=0)
    if index != 2:  # equalize has no strength
        torch.testing.assert_close(after[1], autocontrast_or_same(index, pixels[1]), atol=1e-4, rtol=0)


def autocontrast_or_same(index: int, image: torch.Tensor) -> torch.Tensor:
    """What strength 0 gives: the image, but for autocontrast, which has no strength either."""
    low, high = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
    return (image - low) / (high - low) if index == 1 else image


def test_trivial_leaves_a_white_image_white_where_the_strength_is_0() -> None:
    white = torch.ones(1, 3, 8, 8)
    for index, operation in enumerate(trivial_module.OPERATIONS):
        torch.testing.assert_close(operation(white, torch.zeros(1)), white, msg=str(index))


def test_mixup_equals_the_formula_by_hand() -> None:
    batch = images()
    after = run(Mixup(0.5), batch, seed=0)
    x, share = batch["pixels"].double().numpy(), after["share"].double().numpy()
    by_hand = [share * x[i] + (1 - share) * x[j] for i, j in enumerate(after["partner"].tolist())]
    np.testing.assert_allclose(after["pixels"].numpy(), np.stack(by_hand), atol=1e-6)
    assert sorted(after["partner"].tolist()) == list(range(8))
    assert after["partner"].dtype == torch.long


@pytest.mark.slow
@pytest.mark.parametrize("piece", [Mixup, CutMix])
def test_shares_follow_the_beta_distribution(piece: type[Augment]) -> None:
    batch = {"pixels": torch.zeros(1, 3, 2, 2) if piece is Mixup else torch.zeros(1, 3, 64, 64)}
    share = torch.stack([run(piece(alpha=0.5), batch, seed=s)["share"] for s in range(4000)])
    assert ((share >= 0) & (share <= 1)).all()
    if piece is Mixup:  # a box cut off at the border is smaller, so CutMix keeps more
        assert share.mean().item() == pytest.approx(0.5, abs=0.03)
        assert share.var().item() == pytest.approx(0.125, abs=0.01)  # 1 / (4 (2 alpha + 1))
    else:
        assert share.mean().item() > 0.5


def test_the_share_of_cutmix_is_the_share_of_pixels_counted() -> None:
    batch = images(rows=30, height=17, width=24)
    batch["pixels"] = (torch.arange(30.0) / 30).view(-1, 1, 1, 1).expand(30, 3, 17, 24)  # each row its own grey
    after = run(CutMix(1.0), batch, seed=3)
    for i in range(30):
        from_own = after["pixels"][i] == i / 30
        other = after["pixels"][i] == batch["pixels"][after["partner"][i]]
        assert (from_own | other).all()
        if after["partner"][i] != i:
            assert after["share"].item() == pytest.approx(from_own.float().mean().item(), abs=1e-6)
    assert after["share"].dtype == torch.float32


# texts


def test_word_dropout_hides_the_share_asked_for() -> None:
    batch = texts(rows=200, width=400)
    batch = {k: v[:60] for k, v in batch.items()}  # rows of 223 tokens and more
    ids = run(bound(WordDropout(0.2)), batch, seed=0)["input_ids"]
    inner = (batch["attention_mask"].sum() - 2 * len(ids)).item()
    hidden = (ids == MASK).sum().item()
    assert hidden / inner == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / inner))
    assert (ids[ids != MASK] == batch["input_ids"][ids != MASK]).all()


def test_word_dropout_hides_behind_what_the_tokenizer_has() -> None:
    result = []
    for mask, unknown in ((5, 6), (None, 6)):
        piece = WordDropout(0.5)
        piece.bind(SimpleNamespace(processor=SimpleNamespace(mask_token_id=mask, unk_token_id=unknown)))  # type: ignore[arg-type]
        result.append(piece.replacement)
    assert result == [5, 6]
    with pytest.raises(UserError, match="neither a mask nor an unknown word"):
        WordDropout(0.5).bind(SimpleNamespace(processor=SimpleNamespace(mask_token_id=None, unk_token_id=None)))  # type: ignore[arg-type]


def test_word_swap_moves_neighbours_alone_and_as_many_as_asked() -> None:
    batch = {k: v[:60] for k, v in texts(rows=200, width=400).items()}
    places = torch.arange(400).expand(60, 400)
    after = run(WordSwap(0.2), {**batch, "input_ids": places}, seed=0)["input_ids"]
    assert torch.equal(after.sort(1).values, places)  # none is lost
    assert (after - places).abs().max() == 1
    inner = (batch["attention_mask"].sum() - 2 * 60).item()
    moved = (after != places).sum().item()
    assert moved / inner == pytest.approx(0.2, abs=0.02)


def test_a_swap_with_certainty_pairs_up_the_inner_tokens() -> None:
    batch = {"input_ids": torch.tensor([[CLS, 1, 2, 3, 4, SEP, 0, 0]]), "attention_mask": torch.ones(1, 8).long()}
    batch["attention_mask"][0, 6:] = 0
    result = {tuple(run(WordSwap(1.0), batch, seed)["input_ids"][0].tolist()) for seed in range(20)}
    assert result == {(CLS, 2, 1, 4, 3, SEP, 0, 0), (CLS, 1, 3, 2, 4, SEP, 0, 0)}


# adversarial


def test_the_move_of_each_row_has_length_epsilon() -> None:
    step, piece = Training(bert()), FGM(epsilon=0.7, weight=1.0)
    move = perturbation(piece.gradient(step, texts()), piece.epsilon)
    assert move.shape == (8, 24, 16)
    torch.testing.assert_close(move.flatten(1).norm(dim=1), torch.full((8,), 0.7))


def test_the_gradient_is_the_one_of_the_embedded_tokens() -> None:
    step, batch = Training(bert()), texts()
    table = step.network.get_input_embeddings()
    embedded = F.embedding(batch["input_ids"], table.weight).detach().requires_grad_()
    logits = step.network(inputs_embeds=embedded, attention_mask=batch["attention_mask"]).logits
    (by_hand,) = torch.autograd.grad(step.loss(logits, batch), embedded)
    torch.testing.assert_close(FGM(1.0, 1.0).gradient(step, batch), by_hand)


def test_a_row_without_a_gradient_is_not_moved_and_one_with_a_tiny_one_is() -> None:
    gradient = torch.zeros(2, 3, 4)
    gradient[0] = 1e-30  # its square is 0
    move = perturbation(gradient, 0.7)
    assert move[0].norm().item() == pytest.approx(0.7)
    assert (move[1] == 0).all()


def test_the_adversarial_loss_is_higher_and_weighted() -> None:
    step, batch = Training(bert()), texts()
    unperturbed = step.loss(step.logits(batch), batch).item()
    moved = step.extra(FGM(epsilon=0.5, weight=1.0), batch)["adversarial"].item()
    assert moved > unperturbed + 0.01
    assert step.extra(FGM(epsilon=0.5, weight=0.25), batch)["adversarial"].item() == pytest.approx(moved / 4)


def test_the_adversarial_pass_leaves_weights_gradients_and_hooks_alone() -> None:
    step, batch = Training(bert()), texts()
    before = {k: v.clone() for k, v in step.network.state_dict().items()}
    step.extra(FGM(1.0, 1.0), batch)
    assert all(torch.equal(v, before[k]) for k, v in step.network.state_dict().items())
    assert all(p.grad is None for p in step.network.parameters())
    assert not step.network.get_input_embeddings()._forward_hooks


@pytest.mark.parametrize("failing", [2, 3])
def test_hooks_are_gone_after_an_error_too(failing: int) -> None:
    class Failing(Training):
        passes = 0

        def loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
            self.passes += 1
            if self.passes == failing:
                raise RuntimeError("in the middle")
            return super().loss(logits, batch)

    step = Failing(bert())
    with pytest.raises(RuntimeError, match="in the middle"):
        step.extra(FGM(1.0, 1.0), texts())
    assert not step.network.get_input_embeddings()._forward_hooks


def test_a_network_that_embeds_nothing_is_refused() -> None:
    class Silent(Training):
        def logits(self, batch: Batch) -> torch.Tensor:
            return self.network.classifier.weight[:, :3].expand(8, 3, 3)[:, 0]

    with pytest.raises(UserError, match="embeds 0 times a pass"):
        Silent(bert()).extra(FGM(1.0, 1.0), texts())

    class Unnamed(Training):
        class Network(nn.Module):
            def get_input_embeddings(self) -> nn.Module:
                raise NotImplementedError

    with pytest.raises(UserError, match=r"get_input_embeddings\(\), which Network lacks"):
        FGM(1.0, 1.0).extra(Unnamed(Unnamed.Network()), texts(), torch.zeros(()), torch.zeros(()))


# two passes


def test_the_disagreement_agrees_with_float64_by_hand() -> None:
    first, second = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)) * 3
    p, q = first.numpy().astype(np.float64), second.numpy().astype(np.float64)
    forward = (softmax(p, 1) * (log_softmax(p, 1) - log_softmax(q, 1))).sum(1).mean()
    backward = (softmax(q, 1) * (log_softmax(q, 1) - log_softmax(p, 1))).sum(1).mean()
    assert disagreement(first, second).item() == pytest.approx((forward + backward) / 2, rel=1e-5)


def test_without_dropout_two_passes_agree_and_cost_the_same() -> None:
    step, batch = Training(bert(dropout=0.0)), texts()
    terms = step.extra(RDrop(alpha=5.0), batch)
    assert terms["r_drop"].item() == 0
    assert terms["second"].item() == step.loss(step.logits(batch), batch).item()


def test_with_dropout_alpha_weighs_the_disagreement_of_both_passes() -> None:
    step, batch = Training(bert(dropout=0.3)), texts()
    logits = step.logits(batch)
    sizes = []
    for alpha in (1.0, 4.0):
        torch.manual_seed(5)
        sizes.append(RDrop(alpha).extra(step, batch, logits, logits.sum())["r_drop"].item())
    assert sizes[0] > 0
    assert sizes[1] == pytest.approx(4 * sizes[0])
    first = torch.autograd.grad(RDrop(1.0).extra(step, batch, logits, logits.sum())["r_drop"], logits)[0]
    assert first.abs().sum() > 0  # both passes learn, as in the paper


# chains


class Shift(Augment):
    """Adds its number to the pixels and names a term."""

    modality = "image"

    def __init__(self, number: float, term: str) -> None:
        super().__init__()
        self.number, self.term = number, term

    def forward(self, batch: Batch) -> Batch:
        return {**batch, "pixels": batch["pixels"] * 2 + self.number}

    def extra(self, *_: Any) -> dict[str, torch.Tensor]:
        return {self.term: torch.tensor(self.number)}


def test_a_chain_works_in_order_and_gathers_the_terms() -> None:
    chain = Chain([Shift(1.0, "a"), Shift(3.0, "b")])
    assert (chain({"pixels": torch.zeros(1)})["pixels"] == 5).all()
    assert chain.extra(Training(None), {}, torch.zeros(()), torch.zeros(())) == {"a": 1.0, "b": 3.0}


def test_two_terms_of_one_name_are_refused() -> None:
    chain = Chain([Shift(1.0, "a"), Shift(3.0, "a")])
    with pytest.raises(UserError, match="add the loss term a"):
        chain.extra(Training(None), {}, torch.zeros(()), torch.zeros(()))


def test_a_chain_has_the_modality_that_its_steps_share() -> None:
    assert Chain([NoAugmentation(), RDrop(1.0)]).modality is None
    assert Chain([NoAugmentation(), Flip(0.5)]).modality == "image"
    assert Chain([RDrop(1.0), WordSwap(0.5)]).modality == "text"


def test_a_chain_takes_the_tasks_that_all_its_steps_take() -> None:
    assert Chain([WordSwap(0.5), RDrop(1.0)]).single_label
    assert not Chain([WordSwap(0.5)]).single_label


BAD_CHAINS = [
    ([], "steps is"),
    (["flip"], "expected a list of augmentations"),
    ([Flip(0.5), WordSwap(0.5)], "image and text"),
    ([CutMix(1.0), Flip(0.5)], "step 1 mixes rows"),
    ([Flip(0.5), Mixup(1.0), CutMix(1.0)], "step 2 mixes rows"),
]


@pytest.mark.parametrize(("steps", "message"), BAD_CHAINS, ids=[b[1] for b in BAD_CHAINS])
def test_chains_that_make_no_sense_are_refused(steps: list[Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Chain(steps)


def test_a_pass_of_its_own_may_follow_mixing() -> None:
    assert Chain([Mixup(1.0), RDrop(1.0)]).mixes_rows


# parameters

BAD = [
    ("flip", {"probability": 1.1}, "probability is 1.1, expected in"),
    ("crop", {"scale": [0.0, 1.0]}, "scale is"),
    ("crop", {"scale": [0.5]}, "scale is"),
    ("crop", {"ratio": [2.0, 1.0]}, "ratio is"),
    ("rotate", {"degrees": 0.0}, "degrees is"),
    ("jitter", {"hue": 0.6}, "hue is"),
    ("jitter", {"brightness": -0.1}, "brightness is"),
    ("jitter", {"contrast": 2.0}, "contrast is"),
    ("jitter", {"saturation": float("nan")}, "saturation is"),
    ("trivial", {"strength": 0.0}, "strength is"),
    ("erasing", {"probability": -1.0}, "probability is"),
    ("erasing", {"scale": [0.2, 1.2]}, "scale is"),
    ("erasing", {"ratio": [-1.0, 1.0]}, "ratio is"),
    ("erasing", {"value": 255}, "value is"),
    ("mixup", {"alpha": 0.0}, "alpha is"),
    ("cutmix", {"alpha": float("inf")}, "alpha is"),
    ("word_dropout", {"rate": 1.0}, "rate is"),
    ("word_swap", {"rate": 1.5}, "rate is"),
    ("fgm", {"epsilon": 0.0}, "epsilon is"),
    ("fgm", {"weight": -1.0}, "weight is"),
    ("r_drop", {"alpha": float("nan")}, "alpha is"),
]


@pytest.mark.parametrize(("name", "values", "message"), BAD, ids=[f"{b[0]}-{b[1]}" for b in BAD])
def test_a_parameter_out_of_range_is_refused_by_its_name(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InstantiationException) as caught:
        instantiate(OmegaConf.merge(OmegaConf.load(FILES[name]), values), _convert_="all")
    assert isinstance(caught.value.__cause__, UserError)
    assert message in str(caught.value.__cause__)


def test_all_bad_parameters_are_named_together() -> None:
    with pytest.raises(UserError) as caught:
        Erasing(2.0, [0.0, 1.0], [1.0, 2.0], -1.0)
    assert len(caught.value.problems) == 3


def test_a_bad_parameter_within_a_chain_is_found() -> None:
    chain = OmegaConf.load(FILES["images"])
    chain.steps[0].probability = 7
    with pytest.raises(InstantiationException, match="probability is 7") as caught:
        instantiate(chain, _convert_="all")
    assert isinstance(caught.value.__cause__, UserError)
