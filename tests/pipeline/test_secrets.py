"""Secrets in the environment, in files and on the command line: none is in what a stage prints, records or writes."""

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import mlflow
import pytest
from support.commands import run_here
from support.paths import ROOT
from support.secrets import PARTS, PERMITTED, WHOLE, contents, holders, planted, secret
from support.stores import copy_store

from decant.core.errors import UserError
from decant.tracking import events, outbox, runs
from decant.tracking.runs import Run

SECRETS = (*WHOLE, *PARTS)
TABLE = {"_target_": "decant.data.table.Table", "train": "data/raw/a.csv", "input": "a", "target": "b"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variables with secrets, set."""
    variables = planted()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


def assert_absent(texts: dict[str, bytes], names: tuple[str, ...] = SECRETS) -> None:
    assert texts
    assert {name: where for name in names if (where := holders(name, texts))} == {}


def data_yaml(project: Path, **values: object) -> None:
    if (project / "conf").is_symlink():
        (project / "conf").unlink()
        shutil.copytree(ROOT / "conf", project / "conf")
    (project / "conf/data/mine.yaml").write_text(json.dumps(TABLE | values))


def test_the_search_finds_a_secret_in_every_spelling() -> None:
    for name in SECRETS:
        for spelled in (secret(name), repr(secret(name)), json.dumps([secret(name)])):
            assert holders(name, {"a": f"x{spelled}y".encode()}) == ["a"]
        assert holders(name, {"a": f"<{name}>".encode()}) == []


def test_an_error_with_secrets_in_it_shows_none(environment: dict[str, str]) -> None:
    shown = UserError([repr(environment), json.dumps(environment), *environment.values(), *map(secret, environment)])
    assert_absent({"error": str(shown).encode()})


@pytest.mark.parametrize("form", ["literal", "variable", "key"])
def test_secrets_in_a_yaml_are_refused_and_copied_nowhere(
    form: str, project: Path, environment: dict[str, str]
) -> None:
    values: dict[str, object] = {
        "literal": {"classes": [*environment.values(), *map(secret, environment)]},
        "variable": {"licence": "".join(f"${{oc.env:{name}}}" for name in environment)},
        "key": {"where": {"train": dict.fromkeys(map(secret, environment), 1)}},
    }[form]
    data_yaml(project, **values)
    done = run_here(["prepare", "use.data=mine"], project)
    assert done.code == 2
    assert "conf/data/mine.yaml" in done.err or "data.licence" in done.err
    assert_absent({**contents(project, "conf/data/mine.yaml"), "out": done.out.encode(), "err": done.err.encode()})


def test_secrets_in_addresses_are_refused_and_copied_nowhere(project: Path) -> None:
    data_yaml(
        project, train=f"http://me:{secret('user')}@127.0.0.1:9/a.csv", test=f"http://h/a?token={secret('query')}"
    )
    done = run_here(["prepare", "use.data=mine"], project)
    assert done.code == 2
    assert "127.0.0.1:9/a.csv" in done.err
    written = contents(project, "conf/data/mine.yaml")
    assert_absent({**written, "out": done.out.encode(), "err": done.err.encode()}, ("user", "query"))


def test_secrets_in_params_and_on_the_command_line_are_refused(project: Path, environment: dict[str, str]) -> None:
    value = environment["HF_TOKEN"]
    (project / "params.yaml").write_text((ROOT / "params.yaml").read_text() + f"other: {json.dumps(value)}\n")
    done = run_here(["prepare"], project)
    assert done.code == 2
    assert_absent({**contents(project, "params.yaml"), "err": done.err.encode()})
    shutil.copy(ROOT / "params.yaml", project)
    quoted = environment["PGPASSWORD"].replace("\\", "\\\\").replace("'", "\\'")
    done = run_here(["prepare", f"fine_tune.lr='{quoted}'", f"use.data={environment['GH_PAT']}"], project)
    assert done.code == 2
    assert_absent({**contents(project), "err": done.err.encode()})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_mlflow_store: Path) -> Iterator[Path]:
    """A folder with an MLflow store, the working directory."""
    monkeypatch.chdir(tmp_path)
    uri = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(copy_store(empty_mlflow_store, tmp_path))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "secrets")
    mlflow.create_experiment("secrets", artifact_location=str(tmp_path / "artifacts"))
    yield tmp_path
    mlflow.set_tracking_uri(uri)


def record(environment: dict[str, str]) -> None:
    """Record secrets in parameters and tags, and fail with them."""
    with suppress(KeyError), runs.open_run("run", {}) as run_id:
        run = Run(run_id)
        run.log_params({"a": environment, "b": list(environment.values())})
        run.set_tags({"a": environment, "b": environment["GH_PAT"]})
        raise KeyError(environment["SSHPASS"])


def test_no_secret_reaches_the_store(store: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    remote = f"https://me:{environment['PGPASSWORD']}@github.com/me/x.git"
    monkeypatch.setattr(events, "resolve_tags", lambda tags: {**tags, "mlflow.source.git.repoURL": remote})
    record(environment)
    assert b"mlflow.source.git.repoURL" in (store / "mlflow.db").read_bytes()
    assert_absent(contents(store))


def test_no_secret_waits_in_the_queue_while_the_store_is_away(
    store: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*_: object) -> None:
        raise ConnectionError(
            f"{environment['MLFLOW_TRACKING_PASSWORD']!r} is refused by {environment['DATABASE_URL']}"
        )

    box = outbox.Outbox((outbox.OUTBOX / "1").absolute())
    monkeypatch.setattr(outbox, "send", box.send)
    for kind in (events.StartRun, events.LogParams, events.SetTags, events.EndRun):
        monkeypatch.setattr(kind, "deliver", away)
    record(environment)
    assert (box.folder / outbox.EVENTS).read_bytes().count(b"\n") == 4
    printed = capsys.readouterr()
    assert_absent({**contents(store), "failure": box.failure.encode(), "printed": "".join(printed).encode()})


@pytest.mark.slow
def test_an_experiment_with_secrets_all_around_it_writes_none(clone: Path) -> None:
    written = contents(clone, *PERMITTED)
    assert any(name.startswith(".dvc/cache") for name in written)
    assert b"mlflow.source.git.repoURL" in written["mlflow.db"]
    assert_absent(written, (*SECRETS, *PERMITTED))
