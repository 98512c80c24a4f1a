import os
from pathlib import Path

import mlflow.telemetry.client
import pytest

from decant.core.errors import UserError
from decant.tracking import store


@pytest.mark.parametrize("uri", ["file:./mlruns", "mlruns", "sqlite:///mlflow.db"])
def test_stores_that_lose_runs_are_refused(workdir: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=r"MLflow no longer writes to folders. Expected an absolute"):
        store.connect()


def test_a_server_that_does_not_answer_is_named_at_once_and_without_its_password(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"no MLflow server answers at http://127.0.0.1:9") as caught:
        store.connect()
    assert "secret" not in str(caught.value)


def test_a_database_that_cannot_be_made_is_named(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "blocked").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workdir}/blocked/mlflow.db")
    with pytest.raises(UserError, match="cannot be used"):
        store.connect()


def test_mlflow_reports_no_usage_unless_the_user_says_so(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setattr(mlflow.telemetry.client, "_MLFLOW_TELEMETRY_CLIENT", object())
    store.connect()
    assert mlflow.telemetry.client.get_telemetry_client() is None
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
