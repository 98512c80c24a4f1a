from pathlib import Path

import pandas as pd
import pytest
from sklearn.utils import Bunch
from support.experiments import component
from support.paths import ROOT, SHARED_DATA

from decant.core.errors import UserError
from decant.data import newsgroups
from decant.data.files import fetch
from decant.data.hub import Hub
from decant.data.newsgroups import Newsgroups
from decant.data.table import Table
from decant.dataset.modality.text import Text
from decant.preparation.stored_inputs import stored_inputs

WRITERS = {
    "csv": lambda f, p: f.to_csv(p, index=False),
    "tsv": lambda f, p: f.to_csv(p, index=False, sep="\t"),
    "jsonl": lambda f, p: f.to_json(p, orient="records", lines=True),
    "parquet": lambda f, p: f.to_parquet(p, index=False),
}


def test_a_row_keeps_its_id_whatever_rows_are_chosen(rows: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    rows.sample(frac=1.0, random_state=0).to_parquet(file)  # with an index of its own
    table = Table(train=str(file), input="text", target="intent").load()["train"]
    some = Table(train=str(file), input="text", target="intent", classes=["bills", "beans"]).load()["train"]
    assert table["row_id"].tolist() == [f"train-{i}" for i in range(len(rows))]
    assert some.equals(table[table["target"] != "boxes"].reset_index(drop=True))


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_gives_the_same_table(rows: pd.DataFrame, tmp_path: Path, ending: str) -> None:
    rows.loc[0, "text"] = 'NA, "null"\nand None'
    WRITERS[ending](rows, tmp_path / f"a.{ending}")
    loaded = Table(train=str(tmp_path / f"a.{ending}"), input="text", target="intent").load()["train"]
    assert loaded["input"].tolist() == rows["text"].tolist()
    assert loaded["target"].tolist() == rows["intent"].tolist()
    assert loaded["row_id"].tolist()[:2] == ["train-0", "train-1"]


def test_text_that_looks_like_a_missing_value_stays_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,intent\nNA,a\nnull,b\n")
    loaded = Table(train=str(tmp_path / "a.csv"), input="text", target="intent").load()["train"]
    assert loaded["input"].tolist() == ["NA", "null"]


def test_columns_may_be_called_as_the_contract_calls_others(rows: pd.DataFrame, tmp_path: Path) -> None:
    swapped = {"input": rows["intent"], "target": [f"m{i}" for i in range(12)], "row_id": rows["text"]}
    pd.DataFrame(swapped).to_csv(tmp_path / "a.csv", index=False)
    loaded = Table(train=str(tmp_path / "a.csv"), input="row_id", target="input", row_id="target").load()["train"]
    assert loaded["input"].tolist() == rows["text"].tolist()
    assert loaded["target"].tolist() == rows["intent"].tolist()
    assert loaded["row_id"].tolist() == swapped["target"]


@pytest.mark.parametrize("columns", [{"target": "a"}, {"row_id": "a"}, {"target": "b", "row_id": "b"}])
def test_one_column_in_two_roles_is_refused(columns: dict) -> None:
    for make in (lambda **c: Table(train="x", **c), lambda **c: Hub(id="a/b", revision="a" * 40, **c)):
        with pytest.raises(UserError, match="expected different columns"):
            make(**{"input": "a", "target": "b", **columns})


def test_a_damaged_parquet_file_is_refused(rows: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    rows.to_parquet(file)
    content = bytearray(file.read_bytes())
    content[30:60] = bytes(30)
    file.write_bytes(content)
    with pytest.raises(UserError, match="does not parse as parquet"):
        Table(train=str(file), input="text", target="intent").load()


def test_parquet_with_text_that_is_not_utf8_is_refused(rows: pd.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    rows.to_parquet(file)
    file.write_bytes(file.read_bytes().replace(b"alpha", b"\xff\xffpha"))
    with pytest.raises(UserError, match=r"does not parse as parquet: .*UTF8"):
        Table(train=str(file), input="text", target="intent").load()


@pytest.mark.parametrize(
    ("ending", "content", "message"),
    [
        ("jsonl", b'{"text": "a", "intent": "b"}\n0\n', "expected an object on each line"),
        ("csv", b"", "No columns to parse"),
        ("parquet", b"PAR1", "does not parse as parquet"),
    ],
)
def test_what_is_no_table_is_refused(ending: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{ending}").write_bytes(content)
    with pytest.raises(UserError, match=message):
        Table(train=str(tmp_path / f"a.{ending}"), input="text", target="intent").load()


def test_ids_of_any_type_are_text(tmp_path: Path) -> None:
    for ids in ([b"\xc9", b"x"], [1, 2], [None, "a"], [1.5, None]):
        pd.DataFrame({"text": ["a", "b"], "key": ids}).to_parquet(tmp_path / "a.parquet")
        table = Table(unlabelled=str(tmp_path / "a.parquet"), input="text", row_id="key").load()["unlabelled"]
        assert [type(cell) for cell in table["row_id"]] == [str, str]


def test_bytes_as_labels_are_refused(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a", "b"], "intent": [b"\x80", b"x"]}).to_parquet(tmp_path / "a.parquet")
    file = str(tmp_path / "a.parquet")
    for where in ({}, {"train": {"intent": "x"}}):
        with pytest.raises(UserError, match="holds bytes, expected text or numbers"):
            Table(train=file, input="text", target="intent", where=where).load()


def test_numbers_with_empty_cells_between_are_read_as_text(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1.5, None], "b": [None, 2.0], "y": ["p", "q"]}).to_parquet(tmp_path / "a.parquet")
    one = Table(train=str(tmp_path / "a.parquet"), input="a", target="y").load()["train"]
    both = Table(train=str(tmp_path / "a.parquet"), input=["a", "b"], join=True, target="y").load()["train"]
    assert stored_inputs(one, Text())[0]["input"].tolist() == ["1.5", ""]
    assert both["input"].tolist() == ["1.5", "2.0"]


def test_a_column_can_give_the_ids_and_classes_can_be_chosen(rows: pd.DataFrame, tmp_path: Path) -> None:
    rows.assign(key=[f"m{i}" for i in range(12)]).to_csv(tmp_path / "a.csv", index=False)
    source = Table(
        train=str(tmp_path / "a.csv"), input="text", target="intent", row_id="key", classes=["beans", "boxes"]
    )
    loaded = source.load()["train"]
    assert loaded["row_id"].tolist() == [f"m{i}" for i in range(4, 12)]


def test_a_table_can_come_by_url(rows: pd.DataFrame, tmp_path: Path) -> None:
    rows.to_csv(tmp_path / "a.csv", index=False)
    assert fetch((tmp_path / "a.csv").as_uri()) == (tmp_path / "a.csv").read_bytes()


def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/a.csv cannot be fetched; check the address"):
        fetch("http://127.0.0.1:9/a.csv")


def test_the_hub_wants_a_pinned_commit() -> None:
    with pytest.raises(UserError, match="expected a commit"):
        Hub(id="a/b", revision="main", input="text", target="label")


def test_without_a_network_the_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decant.data.hub.load_dataset", _no_network)
    with pytest.raises(UserError, match=r"a/b@aaaaaaaa.*cannot be loaded.*check the id"):
        Hub(id="a/b", revision="a" * 40, input="text", target="label").load()


def test_without_a_network_newsgroups_points_to_local_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newsgroups, "fetch_20newsgroups", _no_network)
    with pytest.raises(UserError, match="newsgroups_local"):
        Newsgroups().load()


def _no_network(*args: object, **kwargs: object) -> None:
    raise ConnectionError("no route")


def test_the_fetcher_is_asked_for_what_the_yaml_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(**options: object) -> Bunch:
        asked.append(options)
        return Bunch(data=["a", "b"], target=[1, 0], target_names=["x", "y"])

    monkeypatch.setattr(newsgroups, "fetch_20newsgroups", fetch)
    loaded = Newsgroups(categories=["x", "y"], remove=["headers"]).load()
    assert [a["subset"] for a in asked] == ["train", "test"]
    assert asked[0]["remove"] == ("headers",)
    assert loaded["train"]["target"].tolist() == ["y", "x"]


@pytest.mark.parametrize(("name", "rows"), [("banking77", (10003, 3080)), ("newsgroups_local", (2257, 1502))])
def test_local_sets_are_read_and_their_digests_agree(
    name: str, rows: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (SHARED_DATA / "banking77").is_dir():
        pytest.skip(f"no data sets in {SHARED_DATA} (DECANT_DATA)")
    monkeypatch.setenv("DECANT_DATA", str(SHARED_DATA))
    loaded = component("data", name).load()
    assert (len(loaded["train"]), len(loaded["test"])) == rows


def test_the_shipped_set_is_what_the_readme_says() -> None:
    folder = ROOT / "data/raw/support"
    train, test, extra = (pd.read_csv(folder / f"{s}.csv") for s in ("train", "test", "unlabelled"))
    assert train["intent"].nunique() >= 20
    assert set(train["intent"]) == set(test["intent"])
    assert len(train) + len(test) >= 1200
    assert len(extra) >= 400
    texts = pd.concat([train, test, extra])["text"]
    assert texts.str.split().str.len().describe()["std"] > 8


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
