"""Events for MLflow are queued on disk, in order, while the server is unavailable, and delivered when it is back."""

import errno
import json
from pathlib import Path

import pytest
import requests
from mlflow.exceptions import MlflowException

from decant.core.errors import UserError
from decant.tracking import events, outbox, store
from decant.tracking.events import Event, LogArtifact, LogModel, SetTags
from decant.tracking.outbox import Outbox


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


@pytest.fixture
def abandoned(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outbox:
    """The outbox of a process that ended during an outage."""
    monkeypatch.chdir(tmp_path)
    server.available = False
    box = Outbox(outbox.folder() / "1")
    send(box, "first")
    box.lock.release()
    server.available = True
    return box


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


def damage(box: Outbox, name: str, content: bytes | None) -> None:
    """Make a file of an outbox a folder (None), or give it another content; `events` are lines after the first."""
    file = box.folder / name
    if content is None:
        file.unlink(missing_ok=True)
        file.mkdir()
    else:
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((outbox.EVENTS, content) for content in (None, b"", b"\xff\x00\n", b"[" * 100_000 + b"\n", b'{"kind": ')),
        *((outbox.DELIVERED, content) for content in (None, b"", b"\xff", b"-1\n", b"9\n", b"1.5", b"7" * 5000)),
        *((outbox.STORE, content) for content in (None, b"\xff", b"elsewhere")),
        (outbox.LOCK, None),
    ],
)
def test_a_damaged_outbox_blocks_no_other_and_is_not_lost(
    server: Server, abandoned: Outbox, name: str, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    later = Outbox(abandoned.folder.with_name("2"))
    server.available = False
    send(later, "later")
    later.lock.release()
    server.available = True
    damage(abandoned, name, content)
    outbox.deliver_abandoned()
    assert server.notes()[-1] == "later"
    aside = [*(outbox.folder() / outbox.SET_ASIDE).glob("*-1")]
    if aside:
        assert f"{abandoned.folder} cannot be delivered to MLflow" in capsys.readouterr().err
        assert not abandoned.folder.exists()
    lost = content in (b"", b'{"kind": ') and name == outbox.EVENTS
    refused = (outbox.folder() / outbox.REFUSED).exists()
    assert aside or refused or lost or "first" in server.notes() or abandoned.folder.exists()
    assert outbox.refused_count() == len(aside) + refused
    outbox.deliver_abandoned()
    assert outbox.refused_count() == len(aside) + refused


@pytest.mark.parametrize("kind", ["file", "folder", "no store", "binary name"])
def test_what_is_no_outbox_is_set_aside(
    server: Server, abandoned: Outbox, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = outbox.folder() / ("0" if kind != "binary name" else "0\udcff")
    path.write_text("") if kind == "file" else path.mkdir()
    if kind == "no store":
        (path / outbox.EVENTS).write_text("")
    outbox.deliver_abandoned()
    assert server.notes() == ["first"]
    assert outbox.refused_count() == 1
    assert "it was moved to" in capsys.readouterr().err
    assert not outbox.pending_folders()


def test_refused_events_that_are_a_folder_block_nothing(server: Server, abandoned: Outbox) -> None:
    (outbox.folder() / outbox.REFUSED).mkdir()
    with (abandoned.folder / outbox.EVENTS).open("ab") as file:
        file.write(b"no JSON\n")
    outbox.deliver_abandoned()
    assert server.notes() == ["first"]
    assert (outbox.folder() / outbox.REFUSED).read_text().count("no JSON") == 1


def test_what_cannot_be_set_aside_is_named(
    server: Server, abandoned: Outbox, capsys: pytest.CaptureFixture[str]
) -> None:
    (outbox.folder() / outbox.SET_ASIDE).write_text("")
    (outbox.folder() / "0").write_text("")
    outbox.deliver_abandoned()
    assert server.notes() == ["first"]
    assert f"{outbox.folder() / '0'} cannot be delivered to MLflow" in capsys.readouterr().err


def test_an_event_whose_file_is_gone_or_no_file_is_refused(server: Server, abandoned: Outbox) -> None:
    def read(event: LogArtifact) -> None:
        Path(event.path).read_bytes()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogArtifact, "deliver", read)
        with (abandoned.folder / outbox.EVENTS).open("a") as file:
            for path in (abandoned.folder / "nowhere", abandoned.folder, abandoned.folder / "store/under a file"):
                file.write(LogArtifact("run", str(path)).to_json() + "\n")
        outbox.deliver_abandoned()
    assert server.notes() == ["first"]
    assert outbox.refused_count() == 3


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError()])
def test_a_machine_without_space_refuses_no_event(server: Server, abandoned: Outbox, error: Exception) -> None:
    def fail(event: SetTags) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SetTags, "deliver", fail)
        with pytest.raises(type(error)):
            outbox.deliver_abandoned()
    assert outbox.refused_count() == 0
    outbox.deliver_abandoned()
    assert server.notes() == ["first"]


def test_an_outbox_that_cannot_be_written_is_named_before_any_work(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outbox.folder().parent.mkdir()
    outbox.folder().write_text("")
    with pytest.raises(UserError, match=r"\.state/outbox cannot be written: .* is a file"):
        outbox.start()


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
