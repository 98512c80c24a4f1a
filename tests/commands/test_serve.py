"""`decant serve` as a user runs it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.paths import ROOT
from support.stores import copy_store

from decant.commands import serve
from decant.core.errors import UserError
from decant.serving.limits import MAX_ROW_BYTES, MAX_TOKENIZED

ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
SCRIPT = (
    "import sys, atexit\n"
    "from decant.cli import main\n"
    "slow = {'torch', 'transformers', 'mlflow', 'pandas', 'pyarrow', 'sklearn', 'rich', 'hydra'}\n"
    "atexit.register(lambda: print('imported:', *sorted(slow & set(sys.modules)), file=sys.stderr))\n"
    "sys.exit(main())\n"
)
MEMORY = 1000
"""MB that a server of a small model of texts takes at most, whatever it is sent."""


@contextmanager
def served(model: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own; the process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "serve", "--model", str(model), "--port", "0"],
        env=ENV, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr
        line = process.stderr.readline()
        assert line.startswith(f"serving {model} on http://127.0.0.1:"), line + process.stderr.read()
        yield process, line.split()[3].rstrip(";")
    finally:
        process.kill()
        process.communicate()


def post(address: str, body: bytes, content_type: str = "application/json") -> tuple[int, dict]:
    request = urllib.request.Request(address, body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=100) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.slow
def test_a_server_starts_without_training_code_answers_and_ends_at_ctrl_c(texts: Path) -> None:
    with served(texts) as (process, address):
        status, answer = post(address, b'{"inputs": ["a"]}')
        assert (status, list(answer["predictions"][0])) == (200, ["label", "score"])
        status, answer = post(address, b"[" * 100_000)
        assert (status, answer["message"]) == (400, "the body: nested more than 32 deep")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (130, "imported:\n")


@pytest.mark.slow
def test_memory_is_bounded_whatever_is_sent(texts: Path) -> None:
    room = MAX_ROW_BYTES - 100
    bodies = [
        b'{"inputs": [' + b"[]," * (room // 3) + b"[]]}",
        b'{"inputs": ["' + b"word " * (room // 5) + b'"]}',
        b'{"inputs": [' + b",".join([b'"' + b"x" * (MAX_TOKENIZED - 1) + b'"'] * 20) + b"]}",
        b'{"inputs": [' + b",".join([b'"' + b"word " * 3000 + b'"'] * 1000) + b"]}",
    ]
    with served(texts) as (process, address):
        for body in bodies:
            assert post(address, body)[0] in (200, 400)
        assert post(address, b"a," * (room // 2) + b"b\n", "text/csv")[0] == 400
        assert post(address, b"a\n" + b"b\n" * (room // 2), "text/csv")[0] == 413
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak, now = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1000 for name in ("VmHWM", "VmRSS"))
        assert (peak < MEMORY, now < MEMORY / 2) == (True, True), (peak, now)
        assert post(address, b'{"inputs": ["a"]}')[0] == 200


def test_a_model_that_mlflow_stored_is_served(logged_models: dict[str, Path], model_folders: dict[str, Path]) -> None:
    with serve.model_folder(str(logged_models["texts"])) as folder:
        assert (folder / "config.json").is_file()
    with serve.model_folder(str(model_folders["texts"])) as folder:
        assert folder == model_folders["texts"]


def test_a_model_that_is_not_there_is_named(
    empty_mlflow_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="there is no folder absent; --model names a model directory"):
        serve.run("absent", None, "127.0.0.1", 0)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", copy_store(empty_mlflow_store, tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"runs:/0123/student cannot be fetched: .*; --model takes runs:/<id>/student"):
        serve.run("runs:/0123/student", None, "127.0.0.1", 0)


def test_a_port_that_is_in_use_is_named(texts: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"127.0.0.1:{port} cannot be listened to: .*; choose another --port"):
            serve.run(str(texts), None, "127.0.0.1", port)
