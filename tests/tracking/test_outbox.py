"""What MLflow has to hear while its server is away waits on disk, in its order, and is told when it is back."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kill
import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException
from omegaconf import OmegaConf
from support.commands import run_stage
from support.paths import ROOT

from decant.commands import deliver
from decant.core.resume import READS
from decant.tracking import events, outbox
from decant.tracking.outbox import Outbox

TINY = ["use.data=toy", *(f"use.{role}=tiny" for role in ("teacher", "student", "scratch"))]


class Server:
    """Hears what it is told, while it is there."""

    def __init__(self) -> None:
        self.there, self.heard = True, []

    def experiment(self) -> str:
        if not self.there:
            raise requests.ConnectionError("away")
        return "decant"

    def tell(self, word: str, run_id: str, **values: Any) -> None:
        if not self.there:
            raise requests.ConnectionError("http://me:hunter22@server is away")
        if values.get("name") == "bad":
            raise MlflowException("no such run", error_code=5)
        self.heard.append((word, values.get("name")))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(events, "tell", found.tell)
    monkeypatch.setattr(events, "anew", lambda message: message)
    monkeypatch.setattr(outbox, "PATIENCE", 0.0)
    monkeypatch.setattr(outbox, "experiment", found.experiment)
    return found


def say(box: Outbox, *names: str) -> None:
    for name in names:
        box.say("note", "run", name=name)


def names(server: Server) -> list[str]:
    return [name for word, name in server.heard if word == "note"]


def test_messages_keep_their_order_over_an_absence(server: Server, tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box")
    say(box, "a")
    server.there = False
    say(box, "b", "c")
    assert names(server) == ["a"]
    server.there = True
    say(box, "d")
    assert names(server) == ["a", "b", "c", "d"]
    assert not box.folder.exists()
    assert ("tags", None) in server.heard  # the run says that some of it was told late


def test_what_waits_survives_its_process_and_a_torn_last_line(server: Server, tmp_path: Path) -> None:
    server.there = False
    box = Outbox(tmp_path / "box")
    say(box, "a")
    box.say("note", "run", name=b"\x00\xff")
    with (box.folder / outbox.MESSAGES).open("ab") as file:
        file.write(b'{"word": "no')
    server.there = True
    Outbox(tmp_path / "box").flush()
    assert names(server) == ["a", b"\x00\xff"]


def test_a_process_that_dies_in_the_midst_of_telling_tells_nothing_twice(server: Server, tmp_path: Path) -> None:
    server.there = False
    box = Outbox(tmp_path / "box")
    say(box, "a", "b")
    (box.folder / outbox.TOLD).write_text("1\n")
    server.there = True
    Outbox(tmp_path / "box").flush()
    assert names(server) == ["b"]


def test_a_file_is_told_as_it_was(server: Server, tmp_path: Path) -> None:
    server.there = False
    (tmp_path / "report.md").write_text("then")
    box = Outbox(tmp_path / "box")
    box.say("artifact", "run", path=str(tmp_path / "report.md"), folder=None)
    (tmp_path / "report.md").write_text("later")
    kept = Path(box.waiting[0]["path"])
    assert (kept.name, kept.read_text()) == ("report.md", "then")


def test_what_is_refused_is_set_aside_and_holds_nothing_up(server: Server, tmp_path: Path) -> None:
    with pytest.raises(MlflowException, match="no such run"):  # at once, it is a mistake of ours
        say(Outbox(tmp_path / "other"), "bad")
    server.there = False
    box = Outbox(tmp_path / "box")
    say(box, "bad", "good")
    server.there = True
    box.flush()
    assert names(server) == ["good"]
    assert "no such run" in (tmp_path / outbox.REFUSED).read_text()
    assert not box.folder.exists()


def test_the_command_says_that_something_was_refused_and_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outbox.OUTBOX.mkdir(parents=True)
    (outbox.OUTBOX / outbox.REFUSED).write_text("{}\n{}\n")
    deliver.main([])
    assert "2 messages were refused, why stands in each: read .state/outbox/refused.jsonl" in capsys.readouterr().out


def test_help_tells_nothing_to_mlflow(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "ready", lambda: pytest.fail("it went to work"))
    with pytest.raises(SystemExit, match="0"):
        deliver.main(["--help"])
    assert "usage: decant deliver" in capsys.readouterr().out


def test_a_run_that_is_gone_refuses_all_that_is_late_and_holds_nothing_up(server: Server, tmp_path: Path) -> None:
    server.there = False
    box = Outbox(tmp_path / "box")
    say(box, "bad", "bad")
    server.there = True
    box.flush()
    assert not box.folder.exists()


def test_a_message_that_fails_at_a_store_that_answers_is_set_aside(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.there = False
    box = Outbox(tmp_path / "box")
    say(box, "a")
    monkeypatch.setattr(outbox, "experiment", lambda: "there")
    box.flush()
    assert "server is away" in (tmp_path / outbox.REFUSED).read_text()
    assert not box.waiting


def test_a_password_is_not_in_what_is_said(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.there = False
    box = Outbox(tmp_path / "box")
    say(box, "a")
    assert "server is away" in box.reason
    told = "".join([box.reason, *capsys.readouterr(), *(f.read_text() for f in box.folder.iterdir())])
    assert "hunter22" not in told


def test_messages_of_another_store_wait(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    server.there = False
    box = Outbox((outbox.OUTBOX / "1").absolute())
    say(box, "a")
    server.there = True
    outbox.late()
    assert names(server) == []  # its process lives
    box.lock.release()
    mine = (box.folder / outbox.ADDRESS).read_text()
    (box.folder / outbox.ADDRESS).write_text("http://elsewhere decant")
    outbox.late()
    assert names(server) == []
    (box.folder / outbox.ADDRESS).write_text(mine)
    outbox.late()
    assert names(server) == ["a"]


class Real:
    """A real MLflow server, that can be killed and started again."""

    def __init__(self, place: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.place, self.uri = place, f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = ["server", "--backend-store-uri", f"sqlite:///{self.place}/mlflow.db", "--workers", "1"]
        words += ["--artifacts-destination", str(self.place / "artifacts"), "--host", "127.0.0.1"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words, "--port", str(self.port)],
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


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Real]:
    found = Real(tmp_path)
    found.start()
    before = mlflow.get_tracking_uri()
    yield found
    mlflow.set_tracking_uri(before)
    found.kill()


@pytest.mark.slow
def test_a_training_outlives_its_server_which_hears_all_of_it_afterwards(project: Path, real: Real) -> None:
    for name in ("prepare", "pretrain_load"):
        assert run_stage(name, *TINY, cwd=project, MLFLOW_TRACKING_URI=real.uri).returncode == 0
    knobs = ["fine_tune.batch_size=8", "fine_tune.epochs=20", "fine_tune.control_epochs=2"]
    tuning = subprocess.Popen(
        [sys.executable, "-m", "decant.fine_tune", *TINY, *knobs], cwd=project, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "MLFLOW_TRACKING_URI": real.uri},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert tuning.stdout is not None
    assert any(line.startswith("epoch 3/20") for line in tuning.stdout)
    real.kill()
    _, said = tuning.communicate(timeout=300)
    assert tuning.returncode == 0, said
    assert "MLflow does not answer" in said
    assert "when the server is back: decant deliver" in said
    real.start()
    done = run_stage("cli", "deliver", cwd=project, MLFLOW_TRACKING_URI=real.uri)
    assert done.stdout.endswith("nothing waits\n"), done.stderr
    mlflow.set_tracking_uri(real.uri)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("decant").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert {name: run.info.status for name, run in runs.items() if "tune" in name} == {
        "fine-tune": "FINISHED",
        "fine-tune control": "FINISHED",
    }
    for name, epochs, model in (("fine-tune", 20, "teacher"), ("fine-tune control", 2, "control")):
        run = runs[name]
        losses = client.get_metric_history(run.info.run_id, "train/loss")
        assert len(losses) == len({m.step for m in losses}) == epochs
        logged = client.search_logged_models([experiment], f"source_run_id = '{run.info.run_id}'")
        assert [(found.name, str(found.status)) for found in logged] == [(model, "READY")]
        assert "decant.told_late" in run.data.tags
    assert not [f for f in (project / outbox.OUTBOX).iterdir() if f.is_dir()]


@pytest.mark.slow
def test_sixteen_pipelines_begin_at_once_on_one_fresh_store(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    started = []
    for number in range(16):
        folder = tmp_path / str(number)
        (folder / "data").mkdir(parents=True)
        (folder / "conf").symlink_to(ROOT / "conf")
        (folder / "data/raw").symlink_to(ROOT / "data/raw")
        shutil.copy(ROOT / "params.yaml", folder)
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "MLFLOW_TRACKING_URI": store}
        words = [sys.executable, "-m", "decant.prepare", "use.data=toy", f"seed={number}"]
        started.append(subprocess.Popen(words, cwd=folder, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL))
    said = [process.communicate()[1].decode() for process in started]
    assert {process.returncode for process in started} == {0}, said
    client = mlflow.MlflowClient(store)
    (experiment,) = [e for e in client.search_experiments() if e.name == "decant"]
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    stages = [run for run in runs if run.info.run_name == "prepare"]
    assert sorted(int(run.data.params["seed"]) for run in stages) == list(range(16))
    assert {run.data.tags["mlflow.parentRunId"] for run in stages} == {r.info.run_id for r in runs if r not in stages}
    assert all(len(run.inputs.dataset_inputs) == 4 and "decant.digest" in run.data.tags for run in stages)


PIPELINES = int(os.environ.get("DECANT_PIPELINES", "2"))


@pytest.mark.slow
def test_whole_pipelines_at_once_on_one_fresh_store_lose_nothing(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    quick = [f"{stage}.{epochs}=1" for stage in ("fine_tune", "distill") for epochs in ("epochs", "control_epochs")]
    folders = [kill.cloned(tmp_path / str(n), [*TINY, *quick, f"seed={n}"]) for n in range(PIPELINES)]
    started = [kill.repro(folder, store) for folder in folders]
    failed = [folder for folder, pipeline in zip(folders, started, strict=True) if pipeline.wait()]
    assert not failed, (failed[0] / "log.txt").read_text()
    client = mlflow.MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name("decant").experiment_id], max_results=50_000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert sorted(int(run.data.params["seed"]) for run in parents) == list(range(PIPELINES))
    inside = Counter(
        (r.data.tags["mlflow.parentRunId"], r.data.tags.get("decant.stage")) for r in runs if r not in parents
    )
    assert all(inside[run.info.run_id, stage] == 1 for run in parents for stage in READS)
    for folder in folders:
        seed = str(OmegaConf.load(folder / "params.yaml").seed)
        (whole,) = [run for run in parents if run.data.params["seed"] == seed]
        made = json.loads((folder / "data/evaluate/metrics.json").read_text())
        assert whole.data.metrics["student/accuracy"] == made["student"]["accuracy"]
        assert not list((folder / outbox.OUTBOX).glob("*"))  # nothing waits, nothing was refused
