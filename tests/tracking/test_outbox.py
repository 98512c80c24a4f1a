"""Events for MLflow are queued on disk, in order, while the server is unavailable, and delivered when it is back."""

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

import kill
import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException
from omegaconf import OmegaConf
from support.commands import run_stage
from support.paths import ROOT

from decant import cli
from decant.commands import deliver
from decant.core.resume import UPSTREAM
from decant.tracking import events, outbox, store
from decant.tracking.events import Event, LogArtifact, LogModel, SetTags
from decant.tracking.outbox import Outbox

TINY = ["use.data=toy", *(f"use.{role}=tiny" for role in ("teacher", "student", "scratch"))]


class Server:
    """Receives events while it is available."""

    def __init__(self) -> None:
        self.available = True
        self.received: list[Event] = []

    def experiment(self) -> str:
        if not self.available:
            raise requests.ConnectionError("unavailable")
        return "decant"

    def receive(self, event: Event) -> None:
        if not self.available:
            raise requests.ConnectionError("http://me:hunter22@server is unavailable")
        if event.run_id == "deleted":
            raise MlflowException("no such run", error_code=5)
        if event.run_id == "malformed":
            raise TypeError("'int' object is not iterable")
        self.received.append(event)

    def notes(self) -> list[str]:
        return [event.tags["note"] for event in self.received if isinstance(event, SetTags) and "note" in event.tags]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    fake = Server()
    for kind in events.KINDS.values():
        monkeypatch.setattr(kind, "deliver", lambda event: fake.receive(event))
    monkeypatch.setattr(outbox, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(store, "experiment", fake.experiment)
    return fake


def send(box: Outbox, *notes: str, run_id: str = "run") -> None:
    for note in notes:
        box.send(SetTags(run_id, {"note": note}))


def test_events_keep_their_order_over_an_outage(server: Server, tmp_path: Path) -> None:
    box = Outbox(tmp_path / "box")
    send(box, "a")
    server.available = False
    send(box, "b", "c")
    assert server.notes() == ["a"]
    server.available = True
    send(box, "d")
    assert server.notes() == ["a", "b", "c", "d"]
    assert not box.folder.exists()
    assert [event.tags.keys() for event in server.received[4:]] == [{"decant.delivered_late"}]


def test_pending_events_survive_their_process_and_an_incomplete_last_line(server: Server, tmp_path: Path) -> None:
    server.available = False
    (tmp_path / "model").mkdir()
    box = Outbox(tmp_path / "box")
    send(box, "a")
    box.send(LogModel("run", str(tmp_path / "model"), "student", [b"\x00\xff"]))
    with (box.folder / outbox.EVENTS).open("ab") as file:
        file.write(b'{"kind": "SetT')
    server.available = True
    Outbox(tmp_path / "box").flush()
    assert server.notes() == ["a"]
    assert server.received[1] == LogModel("run", str(box.folder / "1/model"), "student", [b"\x00\xff"])


def test_a_process_that_dies_during_delivery_delivers_nothing_twice(server: Server, tmp_path: Path) -> None:
    server.available = False
    box = Outbox(tmp_path / "box")
    send(box, "a", "b")
    (box.folder / outbox.DELIVERED).write_text("1\n")
    server.available = True
    Outbox(tmp_path / "box").flush()
    assert server.notes() == ["b"]


def test_a_file_is_delivered_as_it_was(server: Server, tmp_path: Path) -> None:
    server.available = False
    (tmp_path / "report.md").write_text("then")
    box = Outbox(tmp_path / "box")
    box.send(LogArtifact("run", str(tmp_path / "report.md")))
    (tmp_path / "report.md").write_text("later")
    event = events.parse(box.pending[0])
    assert isinstance(event, LogArtifact)
    assert (Path(event.path).name, Path(event.path).read_text()) == ("report.md", "then")


@pytest.mark.parametrize("run_id", ["deleted", "malformed"])
def test_a_refused_event_is_set_aside_and_blocks_no_other(server: Server, tmp_path: Path, run_id: str) -> None:
    with pytest.raises((MlflowException, TypeError), match=r"no such run|not iterable"):  # at once it is our mistake
        send(Outbox(tmp_path / "other"), "a", run_id=run_id)
    server.available = False
    box = Outbox(tmp_path / "box")
    send(box, "bad", run_id=run_id)
    send(box, "good")
    server.available = True
    box.flush()
    assert server.notes() == ["good"]
    (refused,) = (tmp_path / outbox.REFUSED).read_text().splitlines()
    assert json.loads(refused)["reason"] in ("no such run", "'int' object is not iterable")
    assert '"note": "bad"' in json.loads(refused)["event"]
    assert not box.folder.exists()


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "Note", "run_id": "run"}',
        '{"kind": "SetTags", "run_id": "run", "colour": 1}',
        '{"kind": "SetTags", "run_id": "run"}',
        '{"kind": ["SetTags"]}',
        '{"run_id": "run"}',
        "[1]",
        "7",
        "no JSON",
        "",
    ],
)
def test_a_line_that_is_no_event_is_set_aside_and_blocks_no_other(server: Server, tmp_path: Path, line: str) -> None:
    server.available = False
    box = Outbox(tmp_path / "box")
    send(box, "a")
    with (box.folder / outbox.EVENTS).open("a") as file:
        file.write(f"{line}\n{events.SetTags('run', {'note': 'b'}).to_json()}\n")
    server.available = True
    Outbox(tmp_path / "box").flush()
    assert server.notes() == ["a", "b"]
    refused = json.loads((tmp_path / outbox.REFUSED).read_text())
    assert refused["event"] == line
    assert refused["reason"].startswith("not an event of this version of decant: ")
    assert not box.folder.exists()


def test_every_kind_of_event_is_read_back_from_json() -> None:
    samples = [
        events.StartRun("run", "distill", {"a": "b"}, 1, "attributes.run_id = 'x'"),
        events.LogMetrics("run", {"loss": 0.1, "nan": float("inf")}, 2, 3),
        events.LogParams("run", {"a.b": "1"}),
        SetTags("run", {"a": "b"}),
        LogArtifact("run", "report.md", "folder"),
        events.LogDataset("run", {"name": "train", "digest": "0"}, "train"),
        LogModel("run", "folder", "student", ["text", b"\x00", {"text": "a", "text_pair": "b"}]),
        events.DescribeInvocation("run", {"prepare": "0"}),
        events.EndRun("run", "FINISHED", 4),
    ]
    assert [events.parse(event.to_json()) for event in samples] == samples
    assert [type(event) for event in samples] == [*events.KINDS.values()]


def test_the_command_reports_refused_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outbox.OUTBOX.mkdir(parents=True)
    (outbox.OUTBOX / outbox.REFUSED).write_text("{}\n{}\n")
    deliver.run()
    out = capsys.readouterr().out
    assert "2 events were refused, each with the reason: read .state/outbox/refused.jsonl" in out


def test_help_sends_nothing_to_mlflow(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "start", lambda: pytest.fail("it connected"))
    monkeypatch.setattr(sys, "argv", ["decant", "deliver", "--help"])
    assert cli.main() == 0
    assert "Usage: decant deliver" in capsys.readouterr().out


def test_a_deleted_run_refuses_all_late_events_and_blocks_nothing(server: Server, tmp_path: Path) -> None:
    server.available = False
    box = Outbox(tmp_path / "box")
    send(box, "a", "b", run_id="deleted")
    server.available = True
    box.flush()
    assert not box.folder.exists()


def test_an_event_that_fails_while_the_store_answers_is_set_aside(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.available = False
    box = Outbox(tmp_path / "box")
    send(box, "a")
    monkeypatch.setattr(store, "experiment", lambda: "available")
    box.flush()
    assert "server is unavailable" in (tmp_path / outbox.REFUSED).read_text()
    assert not box.pending


def test_no_password_is_printed_or_stored(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.available = False
    box = Outbox(tmp_path / "box")
    send(box, "a")
    assert "server is unavailable" in box.failure
    texts = "".join([box.failure, *capsys.readouterr(), *(f.read_text() for f in box.folder.iterdir())])
    assert "hunter22" not in texts


def test_events_for_another_store_stay_pending(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    server.available = False
    box = Outbox((outbox.OUTBOX / "1").absolute())
    send(box, "a")
    server.available = True
    outbox.deliver_abandoned()
    assert server.notes() == []  # its process lives
    box.lock.release()
    this_store = (box.folder / outbox.STORE).read_text()
    (box.folder / outbox.STORE).write_text("http://elsewhere decant")
    outbox.deliver_abandoned()
    assert server.notes() == []
    (box.folder / outbox.STORE).write_text(this_store)
    outbox.deliver_abandoned()
    assert server.notes() == ["a"]


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
def test_training_survives_an_outage_and_all_its_events_arrive_afterwards(project: Path, real: Real) -> None:
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
    assert "when the server is back, run: decant deliver" in said
    real.start()
    done = run_stage("cli", "deliver", cwd=project, MLFLOW_TRACKING_URI=real.uri)
    assert done.stdout.endswith("nothing is pending\n"), done.stderr
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
        assert "decant.delivered_late" in run.data.tags
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
    assert all(inside[run.info.run_id, stage] == 1 for run in parents for stage in UPSTREAM)
    for folder in folders:
        seed = str(OmegaConf.load(folder / "params.yaml").seed)
        (whole,) = [run for run in parents if run.data.params["seed"] == seed]
        made = json.loads((folder / "data/evaluate/metrics.json").read_text())
        assert whole.data.metrics["student/accuracy"] == made["student"]["accuracy"]
        assert not list((folder / outbox.OUTBOX).glob("*"))  # nothing is pending, nothing was refused
