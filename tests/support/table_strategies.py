"""For hypothesis: any table as a file of any format, and any choice of what `prepare` does with it."""

import csv
import io
import json
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from decant.config.schema import Prepare
from decant.task import Task
from decant.task.classify import Classify
from decant.task.multilabel import MultiLabel
from decant.task.regress import Regress

ODD = [
    "", " ", "\u00a0", "\t", "\n", "\r\n", "\0", "\ufeff", "\u202e", '"', '",', ";", ";;a", "a;b", "NA", "null", "nan",
    "None", "inf", "1e400", "1e-46", "-0", "1", "1.0", "1_0", "٣", "=1+1", "é", "e\u0301", "ß", "SS", "İ",
    "long " * 2000, "x" * 9999,
]  # fmt: skip
WORDS = ["parcel", "Paket", "colis", "посылка", "包裹", "طرد", "📦", "a b c", "NA", "1", "é"]
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(max_size=8),
    "odd": st.sampled_from(ODD),
    "nothing": st.none(),
    "whole": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(-1, 6),
    "number": st.floats(),
    "scale": st.sampled_from([1e300, 3.4e38, 1e-60, 2e-60, 16777216.0, 16777217.0]),
    "flag": st.booleans(),
    "date": st.datetimes(datetime(1678, 1, 1), datetime(2262, 1, 1)),
    "decimal": st.decimals(-1000, 1000, places=2),
    "bytes": st.binary(max_size=6),
    "names": st.lists(st.sampled_from(["a", "b", "c", "", " a", None]), max_size=3),
    "nested": st.lists(st.lists(st.integers(0, 2), max_size=2), max_size=2),
    "image": st.fixed_dictionaries({"bytes": st.binary(max_size=4), "path": st.none() | st.just("a.png")}),
    "fields": st.fixed_dictionaries({"a": st.integers(0, 2)}),
}
IN_JSON_ALONE = {
    "huge": st.sampled_from([10**30, -(10**400), 1e308, float("inf"), float("nan")]),
    "half": st.sampled_from(["\ud800", "a\udfff", "\ud83d\ude00"]),
    "mixed": st.one_of(st.none(), st.booleans(), st.integers(-1, 3), st.text(max_size=3), st.just([]), st.just({})),
}
ENDINGS = ["csv", "tsv", "jsonl", "parquet"]
SPLITS = ["train", "validation", "test", "unlabelled"]
COLUMNS = ["text", "more", "label", "id", "part"]


@dataclass
class Case:
    """Files by their names, what a yaml says of them, and the rest of what `prepare` is given."""

    files: dict[str, bytes]
    source: dict[str, Any]
    task: Task
    settings: Prepare
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any of them; about a half are good tables, or would be without one or two faults."""
    kind = draw(st.sampled_from(["classify", "classify", "multilabel", "regress"]))
    splits = (
        ["train", *draw(st.lists(st.sampled_from(SPLITS[1:]), unique=True))]
        if draw(often) or draw(often)
        else ["unlabelled"]
    )
    spoilt = draw(
        st.dictionaries(st.sampled_from(COLUMNS), st.sampled_from(sorted({**CELLS, **IN_JSON_ALONE})), max_size=2)
    )
    spoilt = spoilt if draw(st.booleans()) else {}
    classes = draw(st.integers(0, 6)) if draw(rarely) else draw(st.integers(2, 4))
    names = {s: f"{s}.{draw(st.sampled_from(ENDINGS))}" for s in splits}
    files = {}
    for split, name in names.items():
        ending = name.partition(".")[2]
        columns = table(draw, split, classes, kind, spoilt if draw(often) else {}, ending)
        files[name] = damaged(draw, WRITERS[ending](columns))
    return Case(files, source(draw, names, classes), task(draw, kind), settings(draw), draw(st.integers(0, 2)))


rarely = st.sampled_from([False] * 7 + [True])
often = rarely.map(lambda lot: not lot)


def table(
    draw: st.DrawFn, split: str, classes: int, kind: str, spoilt: dict[str, str], ending: str
) -> dict[str, list[Any]]:
    """Columns by name."""
    chance = Random(draw(st.integers(0, 2**32)))
    rows = draw(st.integers(0, 40)) if draw(rarely) else draw(st.integers(12, 40))
    start = 0 if draw(rarely) else 100 * SPLITS.index(split)
    copies = draw(st.sampled_from([0, 0, 0, 0, 0.1, 1]))
    numbers = [start + (chance.randrange(i + 1) if chance.random() < copies else i) for i in range(rows)]
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4))
    found: dict[str, list[Any]] = {
        "text": [f"{chance.choice(words)} {i}" for i in numbers],
        "more": [f"{i % 5} {chance.choice(words)}" for i in numbers],
        "label": [label(kind, i % max(classes, 1), ending, chance) for i in range(rows)],
        "id": [f"{split} {i}" for i in (numbers if draw(rarely) else range(rows))],
        "part": [split] * rows,
    }
    for column, cells in spoilt.items():
        spoil(draw, found, column, cells, ending, chance)
    if draw(rarely):
        found.pop(draw(st.sampled_from(COLUMNS)))
    return found


def label(kind: str, number: int, ending: str, chance: Random) -> Any:
    """One good target."""
    if kind == "regress":
        return float(number) if ending in ("jsonl", "parquet") else str(number / 2)
    if kind == "classify":
        return f"class {number}"
    found = sorted({f"class {number}", *([f"class {chance.randrange(3)}"] if chance.random() < 0.3 else [])})
    return found if ending in ("jsonl", "parquet") else ";".join(found)


def spoil(draw: st.DrawFn, found: dict[str, list[Any]], column: str, kind: str, ending: str, chance: Random) -> None:
    """Put other cells into a column, in place: all of it, where its format has one type for all of its rows."""
    cells = {**CELLS, **(IN_JSON_ALONE if ending == "jsonl" else {})}.get(kind, CELLS["text"])
    pool = draw(st.lists(cells, min_size=1, max_size=6))
    share = draw(st.sampled_from([0.05, 0.3, 1.0]))
    lacking = draw(st.sampled_from([0.0, 0.0, 0.2]))
    found[column] = [chance.choice(pool) if chance.random() < share else cell for cell in found[column]]
    found[column] = [None if chance.random() < lacking else cell for cell in found[column]]


def source(draw: st.DrawFn, names: dict[str, str], classes: int) -> dict[str, Any]:
    """What the yaml says."""
    given: dict[str, Any] = {**names, "input": "text", "target": "label"}
    given["empty"] = draw(st.sampled_from(["refuse", "drop", "drop", "keep"]))
    given["leaks"] = draw(st.sampled_from(["refuse", "drop"]))
    if draw(st.sampled_from([False, False, True])):
        given["input"] = draw(st.sampled_from([["text", "more"], ["more", "text"], ["text"], ["text", "label"]]))
        given["join"] = draw(st.booleans())
    if draw(st.booleans()):
        given["row_id"] = draw(st.sampled_from(["id"] * 12 + ["text", "label", "part"]))
    if draw(rarely):
        given["classes"] = draw(st.lists(st.sampled_from([f"class {i}" for i in range(4)] + ["0", "x"]), max_size=4))
    if draw(rarely) and draw(rarely):
        given["names"] = ["no", "yes", "maybe"]
    if draw(rarely):
        given["where"] = {draw(st.sampled_from([*names])): {"part": draw(st.sampled_from(["train", "test", 1]))}}
    if draw(rarely) and draw(rarely):
        given["target"] = draw(st.sampled_from(["part", "id", "text", "none such", None]))
    return given


def task(draw: st.DrawFn, kind: str) -> Task:
    """A task of this kind."""
    if kind == "classify":
        return Classify()
    if kind == "regress":
        return Regress(*draw(st.sampled_from([(None, None), (0.0, 5.0)])))
    return MultiLabel(0.5, draw(st.sampled_from(["refuse", "drop"])), draw(st.integers(1, 3)))


def settings(draw: st.DrawFn) -> Prepare:
    """The section `prepare` of params.yaml."""
    shares = st.sampled_from([0.01, 0.15, 0.2, 0.5])
    return Prepare(
        validation=draw(shares),
        test=draw(shares),
        labels_per_class=draw(st.sampled_from([None, None, None, 2, 3, 9])),
        augmented_copies=draw(st.sampled_from([0, 0, 0, 1, 3])),
    )


def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A file as it is; or, rarely, cut off, with wrong bytes, or other bytes altogether."""
    if draw(often) or draw(st.booleans()):
        return content
    place = draw(st.integers(0, max(len(content) - 1, 0)))
    wrong = draw(st.binary(max_size=12))
    return draw(st.sampled_from([content[:place], content[:place] + wrong + content[place + len(wrong) :], wrong]))


def delimited(columns: dict[str, list[Any]], separator: str) -> bytes:
    """CSV, as a spreadsheet writes it."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return file.getvalue().encode()


def json_lines(columns: dict[str, list[Any]]) -> bytes:
    """A line of JSON for each row; what is missing is null, or is not there."""
    rows = (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True))
    return "".join(f"{json.dumps(row, default=str)}\n" for row in rows).encode()


def parquet(columns: dict[str, list[Any]]) -> bytes:
    """Parquet, each column of the type that its cells have; of text, if they have several."""
    file, found = io.BytesIO(), {}
    for name, cells in columns.items():
        try:
            found[name] = pa.array(cells)
        except pa.ArrowException:
            found[name] = pa.array([None if cell is None else str(cell) for cell in cells])
    pq.write_table(pa.table(found), file)
    return file.getvalue()


WRITERS = {
    "csv": lambda columns: delimited(columns, ","),
    "tsv": lambda columns: delimited(columns, "\t"),
    "jsonl": json_lines,
    "parquet": parquet,
}
