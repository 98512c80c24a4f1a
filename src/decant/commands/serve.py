"""`decant serve`: serves a model directory, or a model in MLflow, over HTTP."""

import re
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn

from decant.core.errors import UserError
from decant.serving.model_formats import ModelFormat
from decant.serving.opening import open_predictor
from decant.serving.server import create_app

CONNECTIONS = 64
"""Open at a time; more are answered with 503."""
IDLE_SECONDS = 5
"""That a connection without requests stays open."""


def run(model: str, model_format: ModelFormat | None, host: str, port: int) -> None:
    """Serve a model until Ctrl-C.

    Raises:
        UserError: the model cannot be opened, or the port cannot be used.
    """
    warnings.filterwarnings("ignore", message="Image size", module="PIL")  # too large images are refused by size
    with model_folder(model) as folder, bind(host, port) as listener:
        app = create_app(open_predictor(folder, model_format, threads=1))
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=IDLE_SECONDS,
        )
        address, number = listener.getsockname()[:2]
        print(f"serving {model} on http://{address}:{number}/invocations; Ctrl-C stops it", file=sys.stderr, flush=True)
        uvicorn.Server(config).run([listener])


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: the port is in use, or the address is not of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(f"{host}:{port} cannot be listened to: {error.strerror}; choose another --port") from error


@contextmanager
def model_folder(address: str) -> Iterator[Path]:
    """The model directory at an address: of MLflow (runs:/..., models:/...), or the folder itself.

    Raises:
        UserError: there is none.
    """
    if not re.match(r"[a-z-]+:/", address):
        yield served_folder(Path(address))
        return
    from mlflow.artifacts import download_artifacts  # slow to import
    from mlflow.exceptions import MlflowException

    from decant.tracking.store import connect

    connect()
    with TemporaryDirectory() as temporary:
        try:
            folder = download_artifacts(address, dst_path=temporary)
        except MlflowException as error:
            raise UserError(f"{address} cannot be fetched: {error}; --model takes runs:/<id>/student") from error
        yield served_folder(Path(folder))


def served_folder(folder: Path) -> Path:
    """The model directory in a folder: in a model that MLflow stored, or the folder itself."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; --model names a model directory, such as data/distill")
    return folder / "artifacts/model" if (folder / "MLmodel").is_file() else folder
