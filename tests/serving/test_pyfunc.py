"""The logged model, as MLflow loads and serves it."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import mlflow
import pandas as pd
import pytest
import uvicorn
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server
from support.model_directories import EXAMPLES, LABELS

from decant.backbone.lstm import LSTMConfig, LSTMForSequenceClassification
from decant.dataset.modality.text import Text
from decant.models import directory
from decant.serving import packaging
from decant.serving.predictor import OnnxPredictor
from decant.serving.pyfunc import ServedModel


def load_server(folder: Path) -> ServedModel:
    server = ServedModel()
    server.load_context(SimpleNamespace(artifacts={"model": str(folder)}))
    return server


# --- the pyfunc


@pytest.mark.parametrize("name", EXAMPLES)
def test_predictions_of_pytorch_are_those_of_onnx_runtime(
    name: str, model_folders: dict[str, Path], tmp_path: Path
) -> None:
    for file in model_folders[name].glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    given = EXAMPLES[name]
    wanted = OnnxPredictor(model_folders[name], "onnx").records(OnnxPredictor(model_folders[name], "onnx")(given))
    found = load_server(tmp_path).predict(None, given).to_dict("records")
    assert len(found) == len(given)
    for row, answer in zip(found, wanted, strict=True):
        assert row.get("label") == answer.get("label")
        assert row["score"] == pytest.approx(answer["score"], abs=1e-4)


def test_pytorch_loads_a_network_that_decant_defines(tmp_path: Path, model_folders: dict[str, Path]) -> None:
    config = LSTMConfig(vocab_size=30522, embedding_size=8, hidden_size=8, id2label=dict(enumerate(LABELS)))
    directory.save(LSTMForSequenceClassification(config), Text().encoder(model_folders["texts"]).processor, tmp_path)
    assert set(load_server(tmp_path).predict(None, EXAMPLES["texts"])["label"]) <= set(LABELS)


def test_a_table_of_texts_is_predicted_row_by_row(model_folders: dict[str, Path]) -> None:
    server = load_server(model_folders["texts"])
    assert server.predict(None, pd.DataFrame({"message": ["a", "b"]})).equals(server.predict(None, ["a", "b"]))


def test_a_table_of_pairs_is_predicted_row_by_row(model_folders: dict[str, Path]) -> None:
    server = load_server(model_folders["pairs"])
    assert server.predict(None, pd.DataFrame(EXAMPLES["pairs"])).equals(server.predict(None, EXAMPLES["pairs"]))


def test_bad_inputs_and_parameters_have_the_status_of_a_bad_request(model_folders: dict[str, Path]) -> None:
    table = pd.DataFrame({"text": ["a"], "id": ["b"]})
    for given, params in (([None], {}), (["a"], {"top_k": -1}), (table, {}), ([["a", "b"]], {})):
        with pytest.raises(MlflowException) as caught:
            load_server(model_folders["texts"]).predict(None, given, params)
        assert caught.value.get_http_status_code() == 400


# --- the logged model


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_logged_model_holds_what_serving_needs_and_no_training_code(
    name: str, logged_models: dict[str, Path]
) -> None:
    folder = logged_models[name]
    files = {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()}
    model_format = "int8" if name == "texts" else "onnx"
    encoder = {"preprocessor_config.json"} if name == "images" else {"tokenizer.json", "tokenizer_config.json"}
    assert {Path(f).name for f in files if f.startswith("artifacts/model/")} == {
        "config.json", "manifest.json", "model.onnx", *encoder,
    }  # fmt: skip
    assert f"artifacts/model/{model_format}/model.onnx" in files
    code = {f for f in files if f.endswith(".py")}
    assert code == {"pyfunc.py", *(f"code/decant/{name}" for name in packaging.SHIPPED)}
    needed = (folder / "requirements.txt").read_text().split()
    assert all("==" in line for line in needed)
    assert {line.partition("==")[0] for line in needed} == {
        "mlflow", "numpy", "onnxruntime", "pandas", "pillow", "tokenizers",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_logged_model_predicts_without_pytorch_and_without_this_checkout(
    name: str, logged_models: dict[str, Path], model_folders: dict[str, Path], tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'transformers', 'pytorch_lightning', 'hydra'], None))\n"
        "import base64, json, mlflow.pyfunc\n"
        "given = [base64.b64decode(i[1]) if i[0] == 'bytes' else i[1] for i in json.loads(sys.stdin.read())]\n"
        "found = mlflow.pyfunc.load_model(sys.argv[1]).predict(given)\n"
        "import decant\n"
        "assert decant.__file__.startswith(sys.argv[1]), decant.__file__\n"
        "print(found.to_json(orient='records'))\n"
    )
    given = EXAMPLES[name]
    sent = [("bytes", base64.b64encode(i).decode()) if isinstance(i, bytes) else ("text", i) for i in given]
    done = subprocess.run(
        [sys.executable, "-c", script, str(logged_models[name])],
        input=json.dumps(sent), capture_output=True, text=True, cwd=tmp_path, env=elsewhere(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = OnnxPredictor(model_folders[name]).records(OnnxPredictor(model_folders[name])(given))
    for row, answer in zip(json.loads(done.stdout), wanted, strict=True):
        assert row.get("label") == answer.get("label")
        assert row["score"] == pytest.approx(answer["score"], abs=1e-5)


# --- by REST


def elsewhere() -> dict[str, str]:
    """The environment without this checkout and without the store of another test."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW") and k != "PYTHONPATH"}
    return {**clean, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def served_by_mlflow(folder: Path) -> Iterator[str]:
    """`mlflow models serve`; its address."""
    port = free_port()
    command = ["mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local", "--host", "127.0.0.1"]
    with (folder.parent / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            env=elsewhere(), cwd=folder.parent, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(port, lambda: process.poll() is None)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # mlflow starts uvicorn in a shell
        process.wait(30)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], str]]:
    """Starts MLflow's server for a logged model in a thread of this process, and returns its address."""
    monkeypatch.setenv("__MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # MLflow sets it for good
    with ExitStack() as stack:

        def start(folder: Path) -> str:
            model, port = mlflow.pyfunc.load_model(str(folder)), free_port()
            app = scoring_server.init(model)
            server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
            thread = Thread(target=server.run)
            thread.start()
            stack.callback(thread.join)
            stack.callback(setattr, server, "should_exit", True)
            wait_for(port, thread.is_alive)
            return f"http://127.0.0.1:{port}/invocations"

        yield start


def wait_for(port: int, is_alive: Callable[[], bool]) -> None:
    """Wait until the server answers."""
    for _ in range(1200):
        assert is_alive(), "the server ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=10).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("no answer in two minutes")


def post(address: str, body: Any) -> tuple[int, Any]:
    """Status, and the predictions or the message of the error."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)["predictions"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["message"]


def check_answers(address: str, inputs: Any, expected: list[dict[str, Any]], **params: Any) -> None:
    """The server answers with the records of the model itself."""
    status, records = post(address, {"inputs": inputs, **({"params": params} if params else {})})
    assert status == 200, records
    assert [r.get("label") for r in records] == [r.get("label") for r in expected]
    assert [r["score"] for r in records] == pytest.approx([r["score"] for r in expected], abs=1e-5)


@pytest.mark.slow
def test_mlflow_serves_texts(logged_models: dict[str, Path], model_folders: dict[str, Path]) -> None:
    local = OnnxPredictor(model_folders["texts"])
    with served_by_mlflow(logged_models["texts"]) as address:
        for texts in (["a"], ["a", "where is my parcel", ""]):
            check_answers(address, texts, local.records(local(texts)))
        status, message = post(address, {"inputs": [1]})
        assert (status, "inputs[0] is 1 (int), expected a text" in message) == (400, True)
        calls = [[f"{n} parcels"] * (n % 3 + 1) for n in range(40)]
        expected = [local.records(local(call)) for call in calls]
        with ThreadPoolExecutor(8) as pool:  # requests at the same time do not mix
            list(pool.map(partial(check_answers, address), calls, expected))


def test_a_request_may_ask_for_probabilities(logged_models: dict[str, Path], serve: Callable[[Path], str]) -> None:
    address = serve(logged_models["texts"])
    _, records = post(address, {"inputs": ["a"], "params": {"top_k": 2}})
    probabilities = list(records[0]["probabilities"].values())
    assert len(probabilities) == 2
    assert probabilities == sorted(probabilities, reverse=True)
    assert post(address, {"inputs": ["a"], "params": {"top_k": None}})[0] == 200


BAD_REQUESTS: list[tuple[Any, str]] = [
    (b"{nope", "valid JSON"),
    (b"[1]", "must be a JSON dictionary"),
    ({"texts": ["a"]}, "exactly one of the input fields"),
    ({"inputs": [1]}, "inputs[0] is 1 (int), expected a text"),
    ({"inputs": ["a", None]}, "inputs[1] is "),
    ({"inputs": 5}, "inputs[0] is 5 (int), expected a text"),
    ({"inputs": {"text": ["a"]}}, "expects a single n-dimensional array or a single value"),
    ({"inputs": ["\ud83d"]}, "surrogates not allowed"),
    ({"inputs": ["a"], "params": {"top_k": "many"}}, "top_k"),
    ({"inputs": ["a"], "params": {"top_k": -1}}, "top_k is -1, expected 0 or more"),
    ({"dataframe_split": {"columns": ["text"], "data": [["a"], [None]]}}, "inputs[1] is "),
]


def test_bad_requests_are_the_fault_of_the_sender(logged_models: dict[str, Path], serve: Callable[[Path], str]) -> None:
    address = serve(logged_models["texts"])
    for body, message in BAD_REQUESTS:
        status, found = post(address, body)
        assert 400 <= status < 500, body
        assert message in found, body


def test_pairs_by_rest(
    logged_models: dict[str, Path], model_folders: dict[str, Path], serve: Callable[[Path], str]
) -> None:
    local, address = OnnxPredictor(model_folders["pairs"]), serve(logged_models["pairs"])
    check_answers(address, EXAMPLES["pairs"], local.records(local(EXAMPLES["pairs"])))
    for body, message in (
        ({"inputs": [{"text": "a"}]}, "text_pair"),
        ({"inputs": [{"text": 1, "text_pair": "b"}]}, "expected a pair of texts"),
        ({"inputs": ["a"]}, "text_pair"),
        ({"inputs": EXAMPLES["pairs"], "params": {"top_k": 2}}, "a number has no classes"),
    ):
        status, found = post(address, body)
        assert 400 <= status < 500, body
        assert message in found, body


def test_images_by_rest(
    logged_models: dict[str, Path], model_folders: dict[str, Path], serve: Callable[[Path], str]
) -> None:
    local, address = OnnxPredictor(model_folders["images"]), serve(logged_models["images"])
    coded = [base64.b64encode(content).decode() for content in EXAMPLES["images"]]
    check_answers(address, coded, local.records(local(EXAMPLES["images"])))
    for given in ("no base64!", "aGVsbG8=", 7):
        status, message = post(address, {"inputs": [given]})
        assert 400 <= status < 500
        assert "inputs[0] is" in message
