"""The server of `decant serve`, in this process: the formats of requests, and the limits of each."""

import asyncio
import base64
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.asgi import CSV, JSON, Answer, Ending, post, send, send_whole
from support.model_directories import EXAMPLES

from decant.serving.limits import MAX_DEPTH, MAX_TOKENIZED, MAX_VALUES
from decant.serving.opening import open_predictor
from decant.serving.predictor import Predictor
from decant.serving.request_body import MAX_INPUTS
from decant.serving.server import Limits, create_app

LIMITS = Limits(threads=2)


@pytest.fixture(scope="module")
def predictors(model_folders: dict[str, Path]) -> dict[str, Predictor]:
    return {name: open_predictor(folder, threads=1) for name, folder in model_folders.items()}


@pytest.fixture(scope="module")
def apps(predictors: dict[str, Predictor]) -> dict[str, Any]:
    return {name: create_app(predictor, LIMITS) for name, predictor in predictors.items()}


def refused(answer: Answer, status: int, message: str) -> None:
    """An error is one sentence without internals."""
    assert answer.status == status, answer.body[:300]
    assert message in answer.message, answer.message
    assert len(answer.body) < 1000
    for internal in ("Traceback", ".py", "/site-packages", "File "):
        assert internal not in answer.message
    assert answer.headers["content-type"] == "application/json"


def encoded(name: str) -> list[Any]:
    """Inputs as JSON holds them."""
    return [base64.b64encode(i).decode() if isinstance(i, bytes) else i for i in EXAMPLES[name]]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_format_of_a_request_has_the_answers_of_the_model(
    name: str, apps: dict[str, Any], predictors: dict[str, Predictor]
) -> None:
    expected = predictors[name].records(predictors[name](EXAMPLES[name]))
    inputs = encoded(name)
    records = inputs if name == "pairs" else [{"message": value} for value in inputs]
    columns = list(records[0])
    data = [[record[column] for column in columns] for record in records]
    table = "\r\n".join(",".join(f'"{value}"' for value in row) for row in [columns, *data])
    for body, headers in (
        ({"inputs": inputs}, JSON),
        ({"dataframe_records": records, "params": {}}, {"content-type": "Application/JSON; charset=UTF-8"}),
        ({"dataframe_split": {"columns": columns, "data": data, "index": [0, 1]}, "params": None}, JSON),
        (table.encode(), CSV),
    ):
        answer = post(apps[name], body, headers)
        assert answer.status == 200, answer.body
        assert [r.get("label") for r in answer.predictions] == [r.get("label") for r in expected]
        assert [r["score"] for r in answer.predictions] == pytest.approx([r["score"] for r in expected], abs=1e-5)


def test_no_inputs_have_no_predictions(apps: dict[str, Any]) -> None:
    for body in ({"inputs": []}, {"dataframe_records": []}):
        assert post(apps["texts"], body).predictions == []
    assert post(apps["texts"], b"text\r\n", CSV).predictions == []


def test_a_request_may_ask_for_probabilities(apps: dict[str, Any]) -> None:
    (record,) = post(apps["texts"], {"inputs": ["a"], "params": {"top_k": 2}}).predictions
    assert len(record["probabilities"]) == 2
    (record,) = post(apps["texts"], {"inputs": ["a"], "params": {"top_k": None}}).predictions
    assert "probabilities" not in record


def test_the_server_says_that_it_is_ready_and_what_it_knows(apps: dict[str, Any]) -> None:
    def ask(method: str, path: str) -> Answer:
        return asyncio.run(send(apps["texts"], [Ending(b"")], {}, method, path))

    assert ask("GET", "/ping").status == 200
    refused(ask("GET", "/docs"), 404, "GET /ping and POST /invocations")
    refused(ask("GET", "/invocations"), 405, "GET /ping and POST /invocations")


BAD_REQUESTS: list[tuple[Any, int, str]] = [
    (b"{nope", 400, "the body: not JSON (Expecting"),
    (b"", 400, "the body: not JSON"),
    (b"\xff", 400, "the body is not UTF-8: byte 0"),
    (b"[1]", 400, "the body is [1] (list), expected an object with inputs or"),
    (b"[" * 100_000, 400, f"nested more than {MAX_DEPTH} deep"),
    (b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, f"nested more than {MAX_DEPTH} deep"),
    (b'{"inputs":' + b"[" * 40 + b"]" * 40 + b"}", 400, f"nested more than {MAX_DEPTH} deep"),
    (b'{"inputs": [' + b"9" * 5000 + b"]}", 400, "a number of 5,000 digits"),
    (b'{"inputs": ["a"], "inputs": ["b"]}', 400, "the key 'inputs' twice in an object"),
    ({"texts": ["a"]}, 400, "a mapping of 'texts' (list), expected exactly one of inputs"),
    ({"inputs": ["a"], "dataframe_records": []}, 400, "expected exactly one of inputs"),
    ({"inputs": ["a"], "top_k": 2}, 400, "expected exactly one of inputs"),
    ({"inputs": 5}, 422, "inputs is 5 (int), expected a list"),
    ({"inputs": "a"}, 422, "inputs is 'a' (str), expected a list"),
    ({"inputs": [1]}, 422, "inputs[0] is 1 (int), expected a text"),
    ({"inputs": ["a", None]}, 422, "inputs[1] is None"),
    (b'{"inputs": ["a", NaN]}', 422, "inputs[1] is None"),
    ({"inputs": [["a", "b"]]}, 422, "inputs[0] is ['a', 'b'] (list), expected a text"),
    ({"inputs": [{"text": "a"}]}, 422, "inputs[0] is a mapping of 'text' (str), expected a text"),
    ({"inputs": ["\ud83d"]}, 422, "half of a surrogate pair"),
    ({"inputs": ["a"], "params": {"topk": 2}}, 422, "there is no parameter 'topk' (did you mean 'top_k'?)"),
    ({"inputs": ["a"], "params": [1]}, 422, "params is [1] (list), expected an object"),
    *(
        ({"inputs": ["a"], "params": {"top_k": value}}, 422, "expected a whole number of 0 or more")
        for value in (-1, "2", 1.5, True)
    ),
    ({"inputs": ["a"] * (MAX_INPUTS + 1)}, 413, "more than 1,024 inputs; send several requests"),
    ({"inputs": ["x" * (MAX_TOKENIZED + 1)]}, 422, "a text of 200,001 characters"),
    (b'{"inputs": [' + b"[]," * MAX_VALUES + b"[]]}", 400, "the body: more than 200,000 values"),
    ({"dataframe_split": {"columns": ["a"]}}, 422, "expected an object of columns and data"),
    ({"dataframe_split": {"columns": 1, "data": []}}, 422, "columns is 1 (int), expected a list of names"),
    ({"dataframe_split": {"columns": ["a"], "data": 1}}, 422, "data is 1 (int), expected a list of rows"),
    ({"dataframe_split": {"columns": ["a"], "data": [["a"], []]}}, 422, "data[1] is [] (list), expected a list of 1"),
    ({"dataframe_split": {"columns": ["a"], "data": [[None]]}}, 422, "inputs[0] is None"),
    ({"dataframe_split": {"columns": ["a", "b"], "data": []}}, 422, "the columns are 'a', 'b', expected one column"),
    ({"dataframe_split": {"columns": [], "data": []}}, 422, "the columns are none, expected one column"),
    ({"dataframe_records": {"a": 1}}, 422, "expected a list of objects"),
    ({"dataframe_records": ["a"]}, 422, "row 0 is 'a' (str), expected an object"),
    ({"dataframe_records": [{"a": "b"}, {"c": "d"}]}, 422, "row 1 is a mapping of 'c' (str), expected the columns of"),
    ({"dataframe_records": [{"text": "a", "id": 1}]}, 422, "the columns are 'text', 'id', expected one column"),
    ({"dataframe_records": [{str(i): i for i in range(5000)}]}, 422, "the columns are '0', '1'"),
]


@pytest.mark.parametrize(("body", "status", "message"), BAD_REQUESTS, ids=lambda value: str(value)[:40])
def test_a_bad_request_is_refused_in_a_sentence(body: Any, status: int, message: str, apps: dict[str, Any]) -> None:
    refused(post(apps["texts"], body), status, message)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"text,n\na,1\n", 422, "the columns are 'text', 'n', expected one column"),
        (b"text,text\na,1\n", 400, "the body, line 1: two columns are called 'text'"),
        (b'text\n"a\n', 400, "the body, line 2: unexpected end of data"),
        (b"text;n\na;1\n", 400, "the body looks separated by ';', expected ','"),
        (b"text\n" + b"a\n" * 10**6, 413, "more than 1,024 inputs"),
        (b"text\na,b\n", 400, "the body, line 2: 2 fields, expected 1"),
        (b"text\n\xe9\n", 400, "the body is not UTF-8"),
    ],
)
def test_bad_csv_is_refused_by_line(body: bytes, status: int, message: str, apps: dict[str, Any]) -> None:
    refused(post(apps["texts"], body, CSV), status, message)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "there is no Content-Type, expected application/json or text/csv"),
        ({"content-type": "text/plain"}, "Content-Type is 'text/plain', expected"),
        ({"content-type": "application/json; charset=latin-1"}, "options 'charset=latin-1', expected charset=utf-8"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "Content-Encoding is 'gzip'"),
    ],
)
def test_another_type_of_content_is_refused(headers: dict[str, str], message: str, apps: dict[str, Any]) -> None:
    refused(post(apps["texts"], {"inputs": ["a"]}, headers), 415, message)


def test_a_model_of_pairs_takes_pairs_only(apps: dict[str, Any], predictors: dict[str, Predictor]) -> None:
    (score,) = predictors["pairs"]([("a", "b")])[0]
    assert post(apps["pairs"], {"inputs": [["a", "b"]]}).predictions == [{"score": pytest.approx(score, abs=1e-5)}]
    refused(post(apps["pairs"], {"inputs": ["a"]}), 422, "expected a pair of texts")
    refused(post(apps["pairs"], {"inputs": [["a", "b", "c"]]}), 422, "expected a pair of texts")
    more = {"text": "a", "text_pair": "b", "id": 1}
    refused(post(apps["pairs"], {"inputs": [more]}), 422, "a mapping of 'text' (str), 'text_pair' (str), 'id' (int)")
    refused(post(apps["pairs"], {"inputs": [["a", "b"]], "params": {"top_k": 1}}), 422, "a number has no classes")


@pytest.mark.parametrize("value", ["no base64!", "aGVsbG8=", "", 7, None, ["a"]])
def test_what_is_no_image_is_refused(value: Any, apps: dict[str, Any]) -> None:
    refused(post(apps["images"], {"inputs": [value]}), 422, "inputs[0] is ")


def test_a_long_text_has_the_prediction_of_its_start(apps: dict[str, Any]) -> None:
    start = time.monotonic()
    long, short = post(apps["texts"], {"inputs": ["word " * 3_000_000, "word " * 100]}).predictions
    assert long == short
    assert time.monotonic() - start < 5  # tokenized as a whole it takes 20 seconds


# --- limits


def limited(predictor: Any, **limits: Any) -> Any:
    return create_app(predictor, dataclasses.replace(LIMITS, **limits))


def test_a_body_that_is_too_large_is_refused_by_its_length_and_by_its_bytes(predictors: dict[str, Predictor]) -> None:
    app = limited(predictors["texts"], body_bytes=1000)
    refused(post(app, b"", {**JSON, "content-length": "1001"}), 413, "larger than 1,000 bytes")
    refused(post(app, b"", {**JSON, "content-length": "9" * 5000}), 413, "larger than 1,000 bytes")
    parts = [b"x" * 600, b"x" * 600, 60.0]  # the rest is not waited for
    refused(asyncio.run(send(app, parts, JSON)), 413, "larger than 1,000 bytes")


def test_a_body_that_does_not_arrive_is_refused(predictors: dict[str, Predictor]) -> None:
    app = limited(predictors["texts"], seconds=0.05)
    refused(asyncio.run(send(app, [b"{", 60.0], JSON)), 408, "did not arrive in 0.05 seconds")
    refused(asyncio.run(send(app, [b"{"], JSON)), 400, "the body ended too early")


class SlowModel:
    """Takes a while for every batch."""

    has_classes = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, inputs: list[Any], check: Any) -> np.ndarray:
        for _ in inputs:
            check()
            time.sleep(self.seconds)
        return np.zeros((len(inputs), 1))

    def records(self, logits: np.ndarray, top_k: int) -> list[dict[str, Any]]:
        return [{"label": "a"}] * len(logits)


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    app = limited(SlowModel(0.02), seconds=0.1)
    start = time.monotonic()
    answer = post(app, {"inputs": ["a"] * 1000})
    refused(answer, 503, "would take more than 0.1 seconds")
    assert time.monotonic() - start < 2
    assert post(app, {"inputs": ["a"]}).status == 200


def test_requests_beyond_the_queue_are_refused_and_the_others_answered() -> None:
    app = limited(SlowModel(0.05), requests=4, threads=1)

    async def send_all() -> list[Answer]:
        return await asyncio.gather(*(send_whole(app, {"inputs": ["a"]}) for _ in range(10)))

    answers = asyncio.run(send_all())
    assert sorted(answer.status for answer in answers) == [200] * 4 + [503] * 6
    refused(answers[-1], 503, "4 requests are waiting already")
    assert answers[-1].headers["retry-after"] == "1"
    assert post(app, {"inputs": ["a"]}).status == 200  # the queue is empty again


def test_a_request_that_waited_too_long_is_not_started() -> None:
    app = limited(SlowModel(0.3), seconds=0.2, threads=1)

    async def send_all() -> list[Answer]:
        return await asyncio.gather(*(send_whole(app, {"inputs": ["a"]}) for _ in range(3)))

    assert sorted(answer.status for answer in asyncio.run(send_all())) == [200, 503, 503]


def test_a_model_that_cannot_run_is_an_error_of_the_server_without_internals(
    model_folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    predictor = open_predictor(model_folders["texts"], threads=1)
    predictor.preprocessor.pad = 10**6  # beyond the vocabulary
    predictor.one_by_one = False
    refused(post(create_app(predictor, LIMITS), {"inputs": ["a", "a b c"]}), 500, "the model cannot answer")
    assert "int8/model.onnx cannot run on inputs" in caplog.text


def test_answers_are_valid_json_without_escapes(apps: dict[str, Any]) -> None:
    answer = post(apps["texts"], {"inputs": ["Ärger"]})
    assert json.loads(answer.body.decode()) == {"predictions": answer.predictions}
