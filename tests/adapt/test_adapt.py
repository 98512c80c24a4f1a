from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from support.paths import ROOT
from support.tiny_networks import DISTIL, TensorBatches, logits, random_inputs, tiny_network
from support.tiny_project import BACKBONES, write_prepared, write_teacher
from torch import nn
from torch.optim.swa_utils import AveragedModel
from transformers import AutoModel, AutoModelForImageClassification, AutoModelForSequenceClassification, PreTrainedModel

from decant.adapt import Adapt
from decant.adapt.full import Full
from decant.adapt.gradual import Gradual
from decant.adapt.head import Head
from decant.adapt.layerwise import Layerwise
from decant.adapt.lora import Lora
from decant.adapt.mlp_head import MLPHead
from decant.adapt.probe_then_full import ProbeThenFull
from decant.augment.fgm import FGM
from decant.augment.none import Unchanged
from decant.backbone.lstm import LSTMConfig, LSTMForSequenceClassification
from decant.config import compose
from decant.config.compose import settings
from decant.config.schema import FineTune
from decant.core.errors import UserError
from decant.dataset.prepared import read_prepared
from decant.fine_tune import FineTuner, smoothed
from decant.models import directory
from decant.models.blocks import block_of, blocks
from decant.task.classify import Classify
from decant.tracking.runs import Run
from decant.training.feature_cache import Cached
from decant.training.learner import norms, rate
from decant.training.train import learn
from decant.training.trainer import Ema

FILES = {f.stem: f for f in sorted((ROOT / "conf/adapt").glob("*.yaml"))}
State = dict[str, torch.Tensor]
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
]


# a tiny project


Trained = tuple[PreTrainedModel, FineTuner, list[State]]


class Tiny:
    """Trains as the stage does, and looks at the weights after each step."""

    def __init__(self, kind: str, classes: int = 3) -> None:
        write_prepared(kind, classes)
        self.start, self.kind = write_teacher(BACKBONES[kind]), kind
        self.frozen: list[set[int]] = []
        self.rates: list[list[float]] = []
        self.learners: list[FineTuner] = []
        self.states: list[State] = []
        self.logged: dict[str, float] = {}

    def config(self, *overrides: str) -> DictConfig:
        return compose.load(
            ["trainer=cpu", "trainer.precision=32-true", "fine_tune.batch_size=8", "fine_tune.max_length=16",
             "fine_tune.epochs=2", "fine_tune.lr=1e-2", *overrides]
        )  # fmt: skip

    def train(self, adapt: Adapt, *overrides: str) -> PreTrainedModel:
        tiny = self

        class Watched(FineTuner):
            def on_train_start(self) -> None:
                tiny.learners.append(self)

            def on_train_batch_end(self, *_: Any) -> None:
                tiny.frozen.append(self.frozen)
                tiny.states.append({k: v.clone() for k, v in self.network.state_dict().items()})

            def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
                lr = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
                tiny.rates.append([lr.get(id(block[0]), 0.0) for block in self.blocks])

        class Recorded(Run):
            def log_metrics(self, metrics: Any, step: int = 0) -> None:
                tiny.logged |= metrics

        cfg = self.config(*overrides)
        knobs: FineTune = settings(cfg, "fine_tune")
        found, self.encoder, self.rows = learn(
            cfg, knobs, read_prepared(), Classify().objective, self.start, Recorded(), Watched, adapt
        )
        return found

    def body(self) -> State:
        """The backbone as it was before."""
        return dict(AutoModel.from_pretrained(self.start).state_dict())


@pytest.fixture
def tiny(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tiny]:
    monkeypatch.chdir(project)
    return Tiny


def same(found: State, wanted: State) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(v, wanted[k]) for k, v in found.items())


def statistics(state: State) -> State:
    return {k: v for k, v in state.items() if "running" in k or "num_batches" in k}


# head alone, head first


@pytest.mark.parametrize("kind", BACKBONES)
def test_head_leaves_the_whole_backbone_bitwise_as_it_was(tiny: Callable[..., Tiny], kind: str) -> None:
    work = tiny(kind)
    found = work.train(Head(epochs=3, lr=1e-2, batch_size=8))
    before = {
        k: v for k, v in work.body().items() if kind != "vit" or "pooler" not in k
    }  # which its head does not read
    assert same(found.base_model.state_dict(), before)
    assert bool(statistics(before)) == (kind == "image")
    assert len(work.states) == 9
    assert all(not torch.equal(a, b) for a, b in zip(work.states[0].values(), work.states[8].values(), strict=True))
    assert "train/loss" in work.logged


def test_the_score_on_features_is_the_score_on_inputs(tiny: Callable[..., Tiny]) -> None:
    work = tiny("image")
    found = work.train(Head(epochs=10, lr=0.3, batch_size=8))
    right = directory.predict(found, work.encoder, work.rows["validation"]).argmax(1) == np.arange(9) % 3
    assert right.mean() == pytest.approx(work.logged["best/accuracy"])
    assert right.mean() > 0.5


def test_a_probe_comes_first_and_is_logged_apart(tiny: Callable[..., Tiny]) -> None:
    work = tiny("image")
    found = work.train(ProbeThenFull(epochs=3, lr=1e-2, batch_size=8, batch_norm="frozen"), "fine_tune.lr=1e-4")
    probe, full = work.states[:9], work.states[9:]
    assert len(full) == 6
    assert {k.partition(".")[0] for k in probe[0]} == {"classifier"}
    for key, value in probe[-1].items():  # the second phase starts where the first ended: one step is small
        assert (full[0][key] - value).abs().max() < 1e-3 < (probe[0][key] - value).abs().max()
    assert same(statistics(found.base_model.state_dict()), statistics(work.body()))
    assert not torch.equal(found.base_model.state_dict()["embedder.embedder.convolution.weight"],
                           work.body()["embedder.embedder.convolution.weight"])  # fmt: skip
    assert {"probe/train/loss", "probe/best/accuracy", "train/loss", "best/accuracy"} <= set(work.logged)


# everything


@pytest.mark.parametrize("batch_norm", ["update", "frozen"])
def test_full_trains_all_weights_and_the_statistics_as_asked(tiny: Callable[..., Tiny], batch_norm: str) -> None:
    work = tiny("image")
    work.train(Full(batch_norm))
    before, after = work.body(), {k.removeprefix("resnet."): v for k, v in work.states[-1].items()}
    for key in before:
        moved = not torch.equal(before[key], after[key])
        assert moved == (key not in statistics(before) or batch_norm == "update"), key


def test_statistics_that_were_never_measured_are_not_kept(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    work = Tiny("image")
    (work.start / "model.safetensors").unlink()
    found = work.train(Full("frozen"), "fine_tune.epochs=1")
    assert norms(found)
    assert all((n.running_var != 1).any() for n in norms(found))


# gradual


def test_gradual_keeps_what_is_not_thawed_bitwise(tiny: Callable[..., Tiny]) -> None:
    work = tiny("image")
    work.train(Gradual(1.0, "update"), "fine_tune.epochs=4")
    names = list(dict.fromkeys(block_of(k.split("."), "resnet") for k in work.states[0]))
    count, steps = len(names), len(work.states)
    assert (count, steps) == (5, 12)
    start = {f"resnet.{k}": v for k, v in work.body().items()}
    thawed = set()
    for step, state in enumerate(work.states):
        thawed |= {b for b in range(count) if Gradual(1.0, "update").rate(b, count, step / steps) > 0}
        for key, value in start.items():
            block = names.index(block_of(key.split("."), "resnet"))
            assert torch.equal(state[key], value) == (block not in thawed), (step, key)
    assert thawed == set(range(count))


def test_gradual_is_a_function_of_the_step_alone(tiny: Callable[..., Tiny]) -> None:
    work = tiny("image")
    work.train(Gradual(0.7, "update"))
    assert len(work.frozen) == 6
    for step in (4, 0, 5, 2, 1, 3):  # as a resumed run would ask
        fresh = {b for b in range(5) if Gradual(0.7, "update").rate(b, 5, step / 6) == 0}
        assert work.frozen[step] == fresh
    assert [len(frozen) for frozen in work.frozen] == [4, 3, 2, 1, 0, 0]


def test_the_phases_of_gradual_are_even_and_start_with_the_head() -> None:
    thawed = [[Gradual(0.5, "update").rate(b, 5, p) for b in range(5)] for p in (0.0, 0.1, 0.2, 0.3, 0.4, 1.0)]
    assert thawed == [[0, 0, 0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1] * 5, [1] * 5]


def test_what_is_frozen_has_no_say_in_clipping_and_leaves_no_trace_in_the_optimizer() -> None:
    learner = fine_tuner(tiny_network("resnet"), Gradual(0.5, "update"))
    learner.frozen = {0, 1, 2, 3}
    for block in learner.blocks:
        for parameter in block:
            parameter.grad = torch.full_like(parameter, 100.0)
    head = learner.blocks[-1]
    for parameter in head:
        parameter.grad = torch.full_like(parameter, 0.01)
    optimizer = torch.optim.AdamW(learner.parameters())
    learner.configure_gradient_clipping(optimizer)
    assert all((p.grad == 0.01).all() for p in head)
    optimizer.step()
    assert set(optimizer.state) == set(head)


# layerwise


def test_rates_fall_by_the_layer_as_by_hand(tiny: Callable[..., Tiny]) -> None:
    assert [Layerwise(0.5, "update").rate(b, 4, 0.3) for b in range(4)] == [0.125, 0.25, 0.5, 1.0]
    work = tiny("image")
    work.train(Layerwise(0.5, "update"))
    for step, found in enumerate(work.rates):
        peak = 1e-2 * rate(step, 6, 0.1)
        assert found == pytest.approx([peak / 16, peak / 8, peak / 4, peak / 2, peak])
    assert work.frozen == [set()] * 6


# low rank

NETWORKS = ("bert", "distilbert", "deberta", "vit", "convnext", "mlp_bert")


def adapted(name: str, lora: Lora) -> Any:
    """Wrapped, with B as training would leave it: not 0."""
    wrapped = lora.wrap(tiny_network(name))
    torch.manual_seed(3)
    for key, parameter in wrapped.named_parameters():
        if "lora_B" in key:
            nn.init.normal_(parameter, std=0.3)
    return wrapped


@pytest.mark.parametrize("name", NETWORKS)
def test_merged_equals_unmerged_and_is_the_ordinary_network(name: str) -> None:
    plain, x, lora = tiny_network(name), random_inputs(name), Lora(4, 8.0, 0.1)
    torch.testing.assert_close(logits(lora.wrap(tiny_network(name)), x), logits(plain, x))  # B is 0 at the start
    wrapped = adapted(name, lora)
    unmerged = logits(wrapped, x)
    assert not torch.allclose(unmerged, logits(plain, x), rtol=1e-3)
    merged = lora.unwrap(wrapped)
    torch.testing.assert_close(logits(merged, x), unmerged, atol=1e-4, rtol=1e-4)
    assert type(merged) is type(plain)
    assert list(merged.state_dict()) == list(plain.state_dict())
    assert merged.config.to_json_string() == plain.config.to_json_string()
    assert all(p.requires_grad for p in merged.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_low_rank_matrices_and_the_whole_head_are_trained_and_nothing_else(name: str) -> None:
    wrapped = Lora(4, 8.0, 0.0).wrap(tiny_network(name))
    trained = {k.removeprefix("model.") for k, p in wrapped.named_parameters() if p.requires_grad and "lora_" not in k}
    assert trained == {
        k for k, _ in tiny_network(name).named_parameters() if k.split(".")[0] != tiny_network(name).base_model_prefix
    }
    assert len(blocks(wrapped)) == len(blocks(tiny_network(name)))


def test_lora_keeps_base_weights_bitwise_until_it_merges(tiny: Callable[..., Tiny]) -> None:
    work = tiny("vit")
    found = work.train(Lora(2, 4.0, 0.1), "fine_tune.ema=0.5")
    state = {k.replace(".base_layer", "").removeprefix("model.vit."): v for k, v in work.states[-1].items()}
    before = {k: v for k, v in work.body().items() if not k.startswith("pooler")}  # which its head does not read
    assert same({k: state[k] for k in before}, before)
    after, matrices = found.base_model.state_dict(), {k.split(".lora_A")[0] for k in state if ".lora_A" in k}
    assert matrices
    for key in before:
        assert torch.equal(after[key], before[key]) == (key.removesuffix(".weight") not in matrices), key


def test_plain_transformers_loads_what_lora_made(tiny: Callable[..., Tiny], tmp_path: Path) -> None:
    work = tiny("text")
    found = work.train(Lora(2, 4.0, 0.1, ["query", "value"]))
    wrapped_keys = {k.split(".lora_A")[0] for k in work.states[-1] if ".lora_A" in k}
    assert len(wrapped_keys) == 4
    assert {k.rpartition(".")[2] for k in wrapped_keys} == {"query", "value"}
    directory.save(found, work.encoder.processor, tmp_path / "saved")
    loaded, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    batch = work.encoder.inputs(work.encoder.collate(work.rows["test"]))
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, found.eval()(**batch).logits)
    full = work.train(Full())
    directory.save(full, work.encoder.processor, tmp_path / "full")
    assert (tmp_path / "saved/config.json").read_bytes() == (tmp_path / "full/config.json").read_bytes()
    assert {f.name for f in (tmp_path / "saved").iterdir()} == {f.name for f in (tmp_path / "full").iterdir()}


def test_a_backbone_without_linear_layers_and_a_name_it_lacks_are_refused() -> None:
    with pytest.raises(UserError, match=r"the backbone of MobileNetV2\w+ has none; choose adapt full"):
        Lora(4, 8.0, 0.0).wrap(tiny_network("mobilenet_v2"))
    with pytest.raises(
        UserError, match=r"targets names q, but .*BertFor\w+ has no .*it has: dense, key, query, value; or"
    ):
        Lora(4, 8.0, 0.0, ["value", "q"]).wrap(tiny_network("bert"))


def test_matrices_learn_beside_a_perturbed_embedding_too() -> None:
    wrapped, x = Lora(4, 8.0, 0.0).wrap(tiny_network("bert")), random_inputs("bert")
    learner = fine_tuner(wrapped, Lora(4, 8.0, 0.0))
    learner.encoder = TensorBatches()
    scores = learner({"x": x})
    batch = {"x": x, "target": torch.tensor([0, 1, 2, 0, 1])}
    assert FGM(1.0, 1.0).extra(learner, batch, scores, learner.loss(scores, batch))["adversarial"].requires_grad


# refusals


def test_one_block_is_refused_where_blocks_differ() -> None:
    lstm = LSTMForSequenceClassification(LSTMConfig(vocab_size=50, num_labels=3))
    for adapt in (Gradual(0.5, "update"), Layerwise(0.5, "update"), Lora(4, 8.0, 0.0)):
        with pytest.raises(UserError, match="no backbone apart from its head"):
            adapt.wrap(lstm)
    assert Full().wrap(lstm) is lstm


def test_a_network_from_scratch_is_trained_in_full(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    work = Tiny("image")
    (work.start / "model.safetensors").unlink()
    work.train(Full(), "fine_tune.epochs=1")
    assert len(work.states) == 3


def load(name: str, **values: Any) -> Adapt:
    return instantiate(OmegaConf.merge(OmegaConf.load(FILES[name]), values), _convert_="all")


@pytest.mark.parametrize("name", FILES)
def test_every_adaptation_is_built_from_its_yaml_and_names_its_paper(name: str) -> None:
    assert isinstance(load(name), Adapt)
    assert FILES[name].read_text().startswith("# ")
    assert FILES[name].stem == OmegaConf.load(FILES[name])["_target_"].split(".")[-2]


BAD = [
    ("full", {"batch_norm": "no"}, "batch_norm is 'no'"),
    ("mlp_head", {"hidden": 0}, "hidden is 0"),
    ("mlp_head", {"hidden": None, "one_logit": False}, "which is adapt head; choose that"),
    ("head", {"epochs": 0}, "epochs is 0"),
    ("probe_then_full", {"lr": -1.0}, "lr is -1.0"),
    ("probe_then_full", {"batch_norm": "no"}, "batch_norm is 'no'"),
    ("gradual", {"share": 0.0}, "share is 0.0, expected a number in (0, 1]"),
    ("gradual", {"share": 1.1}, "share is 1.1"),
    ("gradual", {"batch_norm": "no"}, "batch_norm is 'no'"),
    ("layerwise", {"batch_norm": "no"}, "batch_norm is 'no'"),
    ("layerwise", {"decay": 0.0}, "decay is 0.0"),
    ("layerwise", {"decay": float("nan")}, "decay is nan"),
    ("lora", {"rank": 0}, "rank is 0, expected 1 or more"),
    ("lora", {"alpha": 0.0}, "alpha is 0.0"),
    ("lora", {"dropout": 1.0}, "dropout is 1.0"),
    ("lora", {"targets": "query"}, "targets is 'query', expected all-linear or a list"),
    ("lora", {"targets": []}, "targets is []"),
]


@pytest.mark.parametrize(("name", "values", "message"), BAD, ids=[f"{b[0]}-{b[1]}" for b in BAD])
def test_a_parameter_out_of_range_is_refused_by_its_name(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InstantiationException) as caught:
        load(name, **values)
    assert isinstance(caught.value.__cause__, UserError)
    assert message in str(caught.value.__cause__)


# heads of our own


@pytest.mark.parametrize(("kind", "one_logit"), [("text", False), ("text", True), ("image", True)])
def test_a_head_of_our_own_is_saved_and_loaded_again(
    tiny: Callable[..., Tiny], tmp_path: Path, kind: str, one_logit: bool
) -> None:
    work = tiny(kind, classes=2)
    found = work.train(MLPHead(2, 1e-2, 8, 5, one_logit))
    assert same(found.base_model.state_dict(), work.body())
    directory.save(found, work.encoder.processor, tmp_path / "saved")
    assert str(work.start) not in (tmp_path / "saved/config.json").read_text()
    loaded, encoder = directory.load(tmp_path / "saved", read_prepared().modality)
    assert same(dict(loaded.state_dict()), dict(found.state_dict()))
    assert loaded.config.id2label == {0: "bill", 1: "box"}
    wanted = directory.predict(found, work.encoder, work.rows["test"])
    np.testing.assert_array_equal(directory.predict(loaded, encoder, work.rows["test"]), wanted)
    assert wanted.shape == (6, 2)


def test_a_head_without_a_hidden_layer_reads_the_first_token_where_nothing_is_pooled(tmp_path: Path) -> None:
    from transformers import DistilBertConfig, DistilBertModel

    torch.manual_seed(0)
    DistilBertModel(DistilBertConfig(**DISTIL)).save_pretrained(tmp_path)
    names = {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}
    found = directory.with_head(
        AutoModelForSequenceClassification, tmp_path, MLPHead(1, 1e-2, 8, None, one_logit=True).head, **names
    )
    x = random_inputs("distilbert")
    with torch.no_grad():
        first = found.eval().backbone(x, torch.ones_like(x)).last_hidden_state[:, 0]
        wanted = found.classifier(first)[:, 0]
    torch.testing.assert_close(logits(found, x), torch.stack([torch.zeros(5), wanted], 1))


def test_one_logit_is_a_sigmoid_with_its_cross_entropy(tiny: Callable[..., Tiny]) -> None:
    work = tiny("image", classes=2)
    found = work.train(MLPHead(1, 1e-2, 8, None, one_logit=True))
    pair = torch.from_numpy(directory.predict(found, work.encoder, work.rows["train"]))
    target = torch.tensor([row.target for row in work.rows["train"]])
    assert (pair[:, 0] == 0).all()
    torch.testing.assert_close(pair.softmax(1)[:, 1], torch.sigmoid(pair[:, 1]))
    by_hand = F.binary_cross_entropy_with_logits(pair[:, 1], target.float())
    torch.testing.assert_close(Classify().objective.loss(pair, target), by_hand)


def test_one_logit_for_three_classes_is_refused(tiny: Callable[..., Tiny]) -> None:
    with pytest.raises(UserError, match="one_logit is for two classes, found 3"):
        tiny("image").train(MLPHead(1, 1e-2, 8, None, one_logit=True))


# what all share


def fine_tuner(net: PreTrainedModel, adapt: Adapt, **knobs: float) -> FineTuner:
    values = {
        "epochs": 1,
        "control_epochs": 1,
        "folds": 1,
        "seeds": 1,
        "half_logits": False,
        "top_logits": None,
        "lr": 1e-3,
        "batch_size": 8,
        "max_length": 16,
    }
    values |= {"warmup": 0.1, "weight_decay": 0.0, "clip": 1.0, "label_smoothing": 0.0, "ema": 0.0}
    section = FineTune(**{**values, **knobs})  # type: ignore[arg-type]
    return FineTuner(net, None, Classify().objective, section, 1e-3, adapt, Unchanged())  # type: ignore[arg-type]


def test_the_average_of_weights_is_the_one_by_hand(tiny: Callable[..., Tiny], monkeypatch: pytest.MonkeyPatch) -> None:
    work = tiny("image")
    found = work.train(Full(), "fine_tune.ema=0.2", "fine_tune.epochs=1")
    average = {k: v.double() for k, v in work.states[0].items()}
    for state, decay in zip(work.states[1:], (2 / 11, 0.2), strict=True):  # (1 + n) / (10 + n), as long as it is lower
        average = {k: decay * v + (1 - decay) * state[k].double() for k, v in average.items()}
    assert len(work.states) == 3
    for key, value in found.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), average[key], atol=1e-6, rtol=1e-5)
    assert not torch.equal(found.state_dict()["classifier.1.weight"], work.states[-1]["classifier.1.weight"])


def test_what_counts_is_not_averaged() -> None:
    net = torch.nn.BatchNorm1d(1)
    average = AveragedModel(net, multi_avg_fn=Ema(0.9).blend, use_buffers=True)
    for count in (1, 5, 6):
        net.num_batches_tracked.fill_(count)
        net.weight.data.fill_(count)
        average.update_parameters(net)
        assert average.module.num_batches_tracked == count
    assert 1 < average.module.weight < 6


def test_training_goes_on_from_the_weights_not_from_their_average(tiny: Callable[..., Tiny]) -> None:
    work = tiny("image")
    work.train(Full())
    work.train(Full(), "fine_tune.ema=0.9")
    assert same(work.states[5], work.states[11])


def test_terms_of_mixed_rows_are_those_of_both_by_their_shares() -> None:
    learner = fine_tuner(tiny_network("resnet"), Full())
    torch.manual_seed(0)
    scores, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    partner, share = torch.tensor([1, 2, 3, 0]), torch.tensor(0.3)
    found = learner.mixed(scores, {"target": target, "partner": partner, "share": share})["loss"]
    p = scores.log_softmax(1)
    by_hand = -sum(0.3 * p[i, target[i]] + 0.7 * p[i, target[partner[i]]] for i in range(4)) / 4
    torch.testing.assert_close(found, torch.as_tensor(by_hand))
    torch.testing.assert_close(learner.mixed(scores, {"target": target})["loss"], F.cross_entropy(scores, target))


def test_label_smoothing_reaches_the_loss() -> None:
    scores, target = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    found = fine_tuner(tiny_network("resnet"), Full(), label_smoothing=0.2).terms(scores, {"target": target})["loss"]
    p = scores.log_softmax(1)
    by_hand = -(0.8 * p[range(4), target] + 0.2 * p.mean(1)).mean()
    torch.testing.assert_close(found, by_hand)


def test_a_smoothed_teacher_is_warned_of_where_a_student_learns_from_it() -> None:
    assert "fine_tune.label_smoothing is 0.1: a teacher so trained distils worse" in smoothed(0.1, ("logits",))
    assert not smoothed(0.0, ("logits",))
    assert not smoothed(0.1, ())


def test_a_stand_in_takes_features_by_name_and_by_place() -> None:
    from transformers.modeling_outputs import BaseModelOutput

    features = torch.rand(2, 1, 4)
    stand_in = Cached("last_hidden_state", "input_ids", BaseModelOutput)
    assert stand_in(features)[0] is features
    assert stand_in(input_ids=features, attention_mask=None).last_hidden_state is features


def test_images_load_in_plain_transformers_too(tiny: Callable[..., Tiny], tmp_path: Path) -> None:
    work = tiny("vit")
    found = work.train(Lora(2, 4.0, 0.0), "fine_tune.epochs=1")
    directory.save(found, work.encoder.processor, tmp_path / "saved")
    loaded, info = AutoModelForImageClassification.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    np.testing.assert_array_equal(
        directory.predict(loaded, work.encoder, work.rows["test"]),
        directory.predict(found, work.encoder, work.rows["test"]),
    )
