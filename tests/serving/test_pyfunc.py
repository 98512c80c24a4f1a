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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from support.model_directories import EXAMPLES, LABELS

from decant.backbone.lstm import LSTMConfig, LSTMForSequenceClassification
from decant.dataset.modality.text import Text
from decant.models import directory
from decant.serving import packaging
from decant.serving.predictor import OnnxPredictor
from decant.serving.pyfunc import ServedModel


def serving(folder: Path) -> ServedModel:
    server = ServedModel()
    server.load_context(SimpleNamespace(artifacts={"model": str(folder)}))
    return server


# --- the pyfunc


@pytest.mark.parametrize("name", EXAMPLES)
def test_pytorch_answers_as_onnx_runtime_does(name: str, model_folders: dict[str, Path], tmp_path: Path) -> None:
    for file in model_folders[name].glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    given = EXAMPLES[name]
    wanted = OnnxPredictor(model_folders[name], "onnx").records(OnnxPredictor(model_folders[name], "onnx")(given))
    found = serving(tmp_path).predict(None, given).to_dict("records")
    assert len(found) == len(given)
    for row, answer in zip(found, wanted, strict=True):
        assert row.get("label") == answer.get("label")
        assert row["score"] == pytest.approx(answer["score"], abs=1e-4)


def test_pytorch_loads_a_network_of_ours(tmp_path: Path, model_folders: dict[str, Path]) -> None:
    config = LSTMConfig(vocab_size=30522, embedding_size=8, hidden_size=8, id2label=dict(enumerate(LABELS)))
    directory.save(LSTMForSequenceClassification(config), Text().encoder(model_folders["texts"]).processor, tmp_path)
    assert set(serving(tmp_path).predict(None, EXAMPLES["texts"])["label"]) <= set(LABELS)


def test_a_table_of_texts_is_answered_row_by_row(model_folders: dict[str, Path]) -> None:
    server = serving(model_folders["texts"])
    assert server.predict(None, pd.DataFrame({"message": ["a", "b"]})).equals(server.predict(None, ["a", "b"]))


def test_a_table_of_pairs_is_answered_row_by_row(model_folders: dict[str, Path]) -> None:
    server = serving(model_folders["pairs"])
    assert server.predict(None, pd.DataFrame(EXAMPLES["pairs"])).equals(server.predict(None, EXAMPLES["pairs"]))


def test_bad_inputs_and_parameters_are_the_sender_s(model_folders: dict[str, Path]) -> None:
    for given, params in (([None], {}), (["a"], {"top_k": -1})):
        with pytest.raises(MlflowException) as caught:
            serving(model_folders["texts"]).predict(None, given, params)
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
    assert {Path(f).name for f in files if f.startswith("artifacts/model/")} == {"config.json", "model.onnx", *encoder}
    assert f"artifacts/model/{model_format}/model.onnx" in files
    code = {f for f in files if f.endswith(".py")}
    assert code == {"pyfunc.py", *(f"code/decant/{name}" for name in packaging.SHIPPED)}
    needed = (folder / "requirements.txt").read_text().split()
    assert all("==" in line for line in needed)
    assert {line.partition("==")[0] for line in needed} == {
        "mlflow", "numpy", "onnxruntime", "pandas", "pillow", "tokenizers",
    }  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_logged_model_answers_without_pytorch_and_without_this_checkout(
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
    """The environment without this checkout and without the store of a test before."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW") and k != "PYTHONPATH"}
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """`mlflow models serve` on a free port of the loopback; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["mlflow", "models", "serve", "-m", str(folder), "--env-manager", "local", "--host", "127.0.0.1"]
    with (folder.parent / "server.log").open("w") as log:
        process = subprocess.Popen(
            [*words, "--port", str(port)],
            env=elsewhere(), cwd=folder.parent, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait(f"http://127.0.0.1:{port}/ping", process)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # mlflow starts uvicorn in a shell
        process.wait(30)


def wait(address: str, process: subprocess.Popen) -> None:
    """Until the server answers."""
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail("no answer in a minute")


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


BAD: list[tuple[Any, str]] = [
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


@pytest.mark.slow
def test_texts_by_rest(logged_models: dict[str, Path], model_folders: dict[str, Path]) -> None:
    local = OnnxPredictor(model_folders["texts"])
    with server(logged_models["texts"]) as address:
        for texts in (["a"], ["a", "where is my parcel", ""]):
            status, found = post(address, {"inputs": texts})
            assert status == 200
            wanted = local.records(local(texts))
            assert [r["label"] for r in found] == [r["label"] for r in wanted]
            assert [r["score"] for r in found] == pytest.approx([r["score"] for r in wanted], abs=1e-5)
        status, found = post(address, {"inputs": ["a"], "params": {"top_k": 2}})
        assert list(found[0]["probabilities"].values()) == sorted(found[0]["probabilities"].values(), reverse=True)
        assert len(found[0]["probabilities"]) == 2
        assert post(address, {"inputs": ["a"], "params": {"top_k": None}})[0] == 200
        for body, message in BAD:
            status, found = post(address, body)
            assert 400 <= status < 500, body
            assert message in found, body
        concurrent(address, local)


def concurrent(address: str, local: OnnxPredictor) -> None:
    """Requests at the same time do not mix."""
    calls = [[f"{n} parcels"] * (n % 3 + 1) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda call: post(address, {"inputs": call}), calls))
    for call, (status, found) in zip(calls, answers, strict=True):
        assert status == 200
        wanted = local.records(local(call))
        assert [r["score"] for r in found] == pytest.approx([r["score"] for r in wanted], abs=1e-5)


@pytest.mark.slow
def test_pairs_by_rest(logged_models: dict[str, Path], model_folders: dict[str, Path]) -> None:
    wanted = OnnxPredictor(model_folders["pairs"])(EXAMPLES["pairs"])[:, 0].tolist()
    with server(logged_models["pairs"]) as address:
        status, found = post(address, {"inputs": EXAMPLES["pairs"]})
        assert status == 200
        assert [r["score"] for r in found] == pytest.approx(wanted, abs=1e-5)
        for body, message in (
            ({"inputs": [{"text": "a"}]}, "text_pair"),
            ({"inputs": [{"text": 1, "text_pair": "b"}]}, "expected a pair of texts"),
            ({"inputs": ["a"]}, "text_pair"),
            ({"inputs": EXAMPLES["pairs"], "params": {"top_k": 2}}, "a number has no classes"),
        ):
            status, found = post(address, body)
            assert 400 <= status < 500, body
            assert message in found, body


@pytest.mark.slow
def test_images_by_rest(logged_models: dict[str, Path], model_folders: dict[str, Path]) -> None:
    local = OnnxPredictor(model_folders["images"])
    with server(logged_models["images"]) as address:
        status, found = post(address, {"inputs": [base64.b64encode(i).decode() for i in EXAMPLES["images"]]})
        assert status == 200
        wanted = local.records(local(EXAMPLES["images"]))
        assert [r["score"] for r in found] == pytest.approx([r["score"] for r in wanted], abs=1e-5)
        for given in ("no base64!", "aGVsbG8=", 7):
            status, found = post(address, {"inputs": [given]})
            assert 400 <= status < 500
            assert "inputs[0] is" in found
