"""Any request and any file has an answer or a sentence; the nightly tests try 2000 and 10,000 other ones each time."""

import base64
import io
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.asgi import CSV, JSON, Answer, post
from support.model_directories import EXAMPLES
from support.request_mutations import changed_bytes, changed_json

from decant.commands import predict
from decant.commands.predict import Options
from decant.core.errors import UserError
from decant.serving.opening import open_predictor
from decant.serving.predictor import Predictor
from decant.serving.server import create_app

SECONDS = 10
"""That no request may take, on a busy machine."""
STATUSES = {200, 400, 413, 415, 422}
NIGHTLY = pytest.mark.nightly


@pytest.fixture(scope="module")
def predictors(model_folders: dict[str, Path]) -> dict[str, Predictor]:
    return {name: open_predictor(folder, threads=1) for name, folder in model_folders.items()}


def generator(count: int) -> random.Random:
    """Always the same in `make test`; at night another one, whose number is printed."""
    number = 0 if count <= 300 else secrets.randbits(32)
    print(f"generator {number}")
    return random.Random(number)


def request_bodies(name: str) -> list[tuple[Any, dict[str, str]]]:
    """Valid requests to a model, each as a value of JSON or as bytes."""
    inputs = [base64.b64encode(i).decode() if isinstance(i, bytes) else i for i in EXAMPLES[name]]
    records = inputs if name == "pairs" else [{"text": value} for value in inputs]
    split = {"columns": list(records[0]), "data": [list(record.values()) for record in records]}
    table = pd.DataFrame(records).to_csv(index=False).encode()
    return [
        ({"inputs": inputs, "params": {"top_k": 0}}, JSON),
        ({"dataframe_records": records}, JSON),
        ({"dataframe_split": split}, JSON),
        (table, CSV),
    ]


def check_answer(answer: Answer, body: bytes) -> None:
    """An answer is predictions, or one sentence that names nothing of the server."""
    assert answer.status in STATUSES, (answer.status, answer.body[:500], body[:500])
    content = json.loads(answer.body, parse_constant=pytest.fail)
    if answer.status == 200:
        assert list(content) == ["predictions"]
        return
    assert set(content) == {"error_code", "message"}
    assert content["message"].strip()
    assert len(answer.body) < 3000
    assert "Traceback" not in content["message"], body[:500]
    assert "site-packages" not in content["message"], body[:500]


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=NIGHTLY)])
@pytest.mark.parametrize("name", EXAMPLES)
def test_any_request_has_an_answer_or_a_sentence(name: str, count: int, predictors: dict[str, Predictor]) -> None:
    app, draw, statuses = create_app(predictors[name]), generator(count), Counter[int]()
    bodies = request_bodies(name)
    for _ in range(count):
        value, headers = draw.choice(bodies)
        body = changed_bytes(value, draw) if isinstance(value, bytes) else changed_json(value, draw)
        start = time.monotonic()
        answer = post(app, body, headers if draw.random() < 0.95 else draw.choice([JSON, CSV, {}]))
        assert time.monotonic() - start < SECONDS, body[:500]
        check_answer(answer, body)
        statuses[answer.status] += 1
    assert {200, 400, 422} <= statuses.keys(), statuses  # the changes are neither too small nor too large


def parquet_file(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getvalue()


RECORD = {"text": "where is my parcel", "n": 1.5, "list": ["a", {"b": None}]}
FILES: dict[str, Callable[[random.Random], bytes]] = {
    "jsonl": lambda draw: b"\n".join(changed_json(RECORD, draw) for _ in range(3)),
    "csv": lambda draw: changed_bytes(b'text,n\r\na,1\r\n"b, ""c""",2\r\n', draw),
    "tsv": lambda draw: changed_bytes(b"text\tn\na\t1\nb\t2\n", draw),
    "txt": lambda draw: changed_bytes("Ärger\nwhere is my parcel\n\n".encode(), draw),
    "parquet": lambda draw: changed_bytes(parquet_file(pd.DataFrame([RECORD | {"list": ["a"]}] * 3)), draw),
}


def problems_of(files: list[str], options: Options) -> list[str]:
    """What `decant predict` refuses."""
    try:
        predict.run(files, options)
    except UserError as error:
        return error.problems
    return []


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=NIGHTLY)])
def test_any_file_has_predictions_or_a_sentence(
    count: int, predictors: dict[str, Predictor], texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "open_predictor", lambda *_: predictors["texts"])
    monkeypatch.chdir(tmp_path)
    draw, ends = generator(count), Counter[str]()
    for _ in range(count):
        suffix = draw.choice(list(FILES))
        content = FILES[suffix](draw)
        Path(f"t.{suffix}").write_bytes(content)
        columns = draw.choice([(), ("text",)])
        options = Options(texts, None, columns, draw.randrange(3), 32, Path("out"), draw.choice(["csv", "jsonl"]))
        start = time.monotonic()
        problems = problems_of([f"t.{suffix}"], options)
        assert time.monotonic() - start < SECONDS, content[:500]
        assert all(problem.strip() for problem in problems), content[:500]
        if not problems and options.output_format == "jsonl":
            for line in Path("out").read_text().splitlines():
                json.loads(line, parse_constant=pytest.fail)
        ends["sentences" if problems else "predictions"] += 1
    assert min(ends["predictions"], ends["sentences"]) > count / 10, ends
