"""A real MLflow server for tests."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests


class MlflowServer:
    """A real MLflow server with its database in `folder`, that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        arguments = ["server", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1"]
        arguments += ["--artifacts-destination", str(self.folder / "artifacts"), "--host", "127.0.0.1"]
        env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # or it starts eight processes more
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *arguments, "--port", str(self.port)], env=env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        for _ in range(240):
            try:
                requests.get(f"{self.uri}/health", timeout=5).raise_for_status()
                return
            except requests.RequestException:
                time.sleep(0.5)
        pytest.fail("the server did not start")

    def kill(self) -> None:
        os.killpg(self.process.pid, 9)
        self.process.wait()
