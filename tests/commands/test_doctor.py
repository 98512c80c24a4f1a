"""`decant doctor` on a tiny DVC project: each unhealthy state is found, changes nothing unasked, and is healed."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import mlflow
import psutil
import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo
from support.stores import copy_store

from decant.commands import doctor
from decant.commands.checks import locks, records
from decant.core import manifest, valid_copies
from decant.core.errors import UserError
from decant.core.locks import exclusive
from decant.core.resume import STAGE_LOCK
from decant.tracking import leases, outbox, store

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # DVC's use of pygtrie

PIPELINE = """stages:
  distill:
    cmd: mkdir data/out && echo hello > data/out/x && echo world > data/out/y
    outs: [data/out]
  evaluate:
    cmd: echo 0.5 > data/metrics
    outs: [data/metrics]
"""
X = Path("data/out/x")
CACHED_X = Path(".dvc/cache/files/md5/b1/946ac92492d2347c6235b4d2611184")
REMOTE_X = Path("remote") / CACHED_X.relative_to(".dvc/cache")


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after `dvc repro` and `dvc push`, committed."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        git("init", "-q", "-b", "main")
        with Repo.init() as repo, repo.config.edit() as config:
            config["remote"] = {"store": {"url": "remote"}}
            config["core"] = {"remote": "store", "analytics": False}
        Path("dvc.yaml").write_text(PIPELINE)
        Path("params.yaml").write_text("seed: 1\n")
        Path("provenance.json").write_text('{"distill": {"digest": "0"}}\n')
        Path(".gitignore").write_text("/data\n/.state\n/remote\n")
        Path("data").mkdir()
        with Repo() as repo:
            repo.reproduce()
            repo.push()
        git("add", "-A")
        git("commit", "-qm", "start")
    return folder


@pytest.fixture(autouse=True)
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = Path(shutil.copytree(template, tmp_path / "project", symlinks=True))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(doctor, "configure_libraries", lambda: None)
    return folder


def report(capsys: pytest.CaptureFixture[str]) -> str:
    """The problems that are found, on one line; finding them changes nothing."""
    before = {f: f.read_bytes() for f in Path().rglob("*") if f.is_file() and ".dvc/tmp" not in str(f)}
    code = doctor.run(heal=False)
    out = capsys.readouterr().out
    assert {f: f.read_bytes() for f in Path().rglob("*") if f.is_file() and ".dvc/tmp" not in str(f)} == before
    assert code == (0 if out == "no problems\n" else 1)
    return "".join(line.replace("│", "").strip() + " " for line in out.splitlines())


def heal(capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert doctor.run(heal=True) == code
    return capsys.readouterr().out


def damage(file: Path, content: bytes = b"jello\n") -> None:
    """Bytes flip on the disk: size, mode and times stay."""
    status = file.stat()
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(status.st_mode)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def restore_from_damaged_cache() -> None:
    """`dvc checkout` takes the damaged object, and `dvc status` knows nothing of it."""
    damage(CACHED_X)
    shutil.rmtree("data/out")
    with Repo() as repo:
        repo.checkout()
        assert repo.status() == {}
    assert X.read_text() == "jello\n"


def quarantined() -> list[bytes]:
    return [file.read_bytes() for file in Path(".state/quarantine").glob("*")]


def test_a_healthy_project_has_no_problems(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys).strip() == "no problems"
    assert heal(capsys) == "no problems\n"


def test_a_fresh_clone_without_outputs_and_cache_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("data", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(folder)
    assert report(capsys).strip() == "no problems"


def test_another_folder_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"there is no folder \.dvc here"):
        doctor.run(heal=True)


# --- DVC's cache and the outputs


@pytest.mark.parametrize("source", ["output", "remote"])
def test_a_damaged_object_of_the_cache_is_replaced(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage(CACHED_X)
    shutil.rmtree("remote" if source == "output" else "data/out")
    assert "DVC's cache holds damaged objects of data/out: data/out/x" in report(capsys)
    assert "1 damaged objects of data/out are removed from DVC's cache, and restored" in heal(capsys)
    assert (CACHED_X.read_text(), CACHED_X.stat().st_mode & 0o777) == ("hello\n", 0o444)
    assert quarantined() == [b"jello\n"]


def test_a_damaged_output_that_dvc_restored_is_replaced_with_its_object(capsys: pytest.CaptureFixture[str]) -> None:
    restore_from_damaged_cache()
    assert "data/out/x" in report(capsys)
    out = heal(capsys)
    assert "1 damaged files of data/out are replaced from DVC's cache" in out
    assert X.read_text() == CACHED_X.read_text() == "hello\n"
    assert quarantined() == [b"jello\n"] * 2
    with Repo() as repo:
        assert repo.status() == {}


def test_what_cannot_be_restored_is_made_again_by_dvc(capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("remote")
    restore_from_damaged_cache()
    out = heal(capsys, code=1)
    assert "not restored: data/out/x" in out
    assert "dvc repro --single-item --force distill" in out
    with Repo() as repo:
        assert [stage.name for stage in repo.reproduce()] == ["distill"]
    assert X.read_text() == CACHED_X.read_text() == "hello\n"
    assert heal(capsys) == "no problems\n"


def test_an_object_that_is_damaged_in_the_remote_too_is_not_taken(capsys: pytest.CaptureFixture[str]) -> None:
    damage(CACHED_X)
    damage(REMOTE_X, b"cello\n")
    shutil.rmtree("data/out")
    assert "not restored: data/out/x" in heal(capsys, code=1)
    assert not CACHED_X.exists()


def test_a_damaged_listing_of_a_folder_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    listing = next(Path(".dvc/cache/files/md5").rglob("*.dir"))
    content = listing.read_bytes()
    damage(listing, content.replace(b'"x"', b'"z"'))
    assert "holds damaged objects of data/out: data/out" in report(capsys)
    assert "and restored" in heal(capsys)
    assert listing.read_bytes() == content
    damage(listing, b"")
    shutil.rmtree("remote")
    assert "dvc repro --single-item --force distill" in heal(capsys, code=1)


def test_an_output_whose_bytes_flip_in_place_is_restored(capsys: pytest.CaptureFixture[str]) -> None:
    with Repo() as repo:
        repo.status()  # DVC remembers the md5 with the time of change
    damage(X)
    with Repo() as repo:
        assert repo.status() == {}
    assert "data/out is damaged, and DVC takes it for unchanged: data/out/x" in report(capsys)
    heal(capsys)
    assert X.read_text() == "hello\n"


def test_outputs_that_dvc_knows_to_be_changed_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    X.write_text("a result of a stage that was run by hand\n")
    Path("data/metrics").unlink()
    assert heal(capsys) == "no problems\n"
    assert X.read_text().startswith("a result")


def test_a_model_directory_that_is_not_what_a_stage_wrote_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("data/fine_tune")
    folder.mkdir()
    (folder / "model.safetensors").write_text("weights")
    manifest.write(folder)
    assert report(capsys).strip() == "no problems"
    (folder / "model.safetensors").write_text("weighty")
    assert "data/fine_tune/model.safetensors is damaged: its sha256 is " in report(capsys)
    assert "dvc repro" in report(capsys)


# --- files that a kill cuts


@pytest.mark.parametrize("left", [0, 9])
@pytest.mark.parametrize("name", valid_copies.FILES)
def test_a_cut_file_is_restored_from_the_copy_of_the_last_stage(
    name: str, left: int, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = Path(name).read_text().replace("seed: 1", "seed: 2")
    Path(name).write_text(edited)
    valid_copies.save()
    Path(name).write_text(edited[:left] if name != "params.yaml" or not left else "seed: [")
    assert f"{name} " in report(capsys)
    assert f"{name} is restored: the copy that the last stage saved at its start" in heal(capsys)
    assert Path(name).read_text() == edited


@pytest.mark.parametrize("name", valid_copies.FILES)
def test_without_such_a_copy_the_committed_file_is_restored(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = Path(name).read_text()
    Path(name).write_bytes(b"")
    assert f"{name} has 0 bytes" in report(capsys)
    assert "is restored: the file as it is committed: what changed since then is lost" in heal(capsys)
    assert Path(name).read_text() == content


def test_a_file_without_any_valid_copy_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    git("rm", "-q", "--cached", "params.yaml")
    git("commit", "-qm", "without")
    Path("params.yaml").write_text("seed: [")
    assert records.valid_copy("params.yaml") is None
    assert "write it again" in heal(capsys, code=1)
    assert Path("params.yaml").read_text() == "seed: ["


# --- locks of DVC


@pytest.mark.parametrize("content", ["", '{"write": {', "[]", '{"write": {"a": {"pid": 1}}}'])
def test_a_cut_rwlock_is_removed(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    locks.RWLOCK.write_text(content)
    with Repo() as repo, pytest.raises(DvcException, match="RWLock-file"):
        repo.status()
    assert "every command of DVC fails" in report(capsys)
    heal(capsys)
    with Repo() as repo:
        assert repo.status() == {}


def rwlock(pid: int, mode: str = "write") -> None:
    entry = {"pid": pid, "cmd": "dvc repro"}
    locks.RWLOCK.write_text(json.dumps({mode: {"data/out": entry if mode == "write" else [entry]}}))


@pytest.mark.parametrize("mode", ["read", "write"])
def test_an_rwlock_of_ended_processes_is_removed(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    rwlock(done.pid, mode)
    assert f"names processes that have ended: {done.pid} (dvc repro)" in report(capsys)
    heal(capsys)
    assert not locks.RWLOCK.exists()


def test_a_pid_that_another_process_has_by_now_is_not_the_holder(capsys: pytest.CaptureFixture[str]) -> None:
    """DVC itself asks only whether there is such a pid, and waits for ever."""
    rwlock(os.getpid())
    before = psutil.Process().create_time() - 100
    os.utime(locks.RWLOCK, (before, before))
    assert "names processes that have ended" in report(capsys)


def test_nothing_is_healed_while_dvc_works_here(capsys: pytest.CaptureFixture[str]) -> None:
    damage(CACHED_X)
    rwlock(os.getpid())
    assert "rwlock" not in report(capsys)
    with pytest.raises(UserError, match=rf"process {os.getpid()}: dvc repro works in this project; wait"):
        doctor.run(heal=True)
    locks.RWLOCK.unlink()
    with exclusive(STAGE_LOCK, ""), pytest.raises(UserError, match=rf"a stage, process {os.getpid()}, works in this"):
        doctor.run(heal=True)
    locks.LOCK.write_text(" 123\n")
    with locks.LOCK.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="DVC, process 123 works in this project"):
            doctor.run(heal=True)
    heal(capsys)
    assert CACHED_X.read_text() == "hello\n"


# --- MLflow


def test_events_that_wait_or_were_refused_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    folder = outbox.OUTBOX / "1-a"
    folder.mkdir(parents=True)
    (folder / outbox.STORE).write_text("http://away decant")
    (outbox.OUTBOX / outbox.REFUSED).write_text("{}\n{}\n")
    found = report(capsys)
    assert "MLflow refused 2 events" in found
    assert "events of 1 processes wait for MLflow" in found
    assert "decant deliver" in found


def test_runs_of_ended_processes_are_closed(
    project: Path, empty_mlflow_store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_store(empty_mlflow_store, project)
    store.connect()
    living = leases.tags()
    ended = living | {leases.PROCESS_TAG: f"{living[leases.PROCESS_TAG].rsplit(maxsplit=1)[0]} 1.0"}
    client = mlflow.MlflowClient()
    run = client.create_run(store.experiment().experiment_id, tags=ended, run_name="a")
    assert f"the process of the run a ({run.info.run_id}) ended" in report(capsys)
    assert "marked as KILLED" in heal(capsys)
    assert client.get_run(run.info.run_id).info.status == "KILLED"


def test_a_store_that_does_not_answer_is_a_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "no MLflow server answers at http://127.0.0.1:9" in report(capsys)


# --- git


@pytest.fixture
def worktree() -> Path:
    folder = Path(".state/experiments/a")
    git("worktree", "add", "--quiet", "--detach", str(folder))
    return folder


def test_the_worktree_of_a_dead_experiment_is_removed(worktree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worktree.with_name("a.lock").write_text("{}")
    (worktree / "params.yaml").write_text("changed")
    assert f"{worktree} is a worktree that no experiment uses" in report(capsys)
    assert f"the worktree {worktree} is removed" in heal(capsys)
    assert not worktree.exists()
    assert len(git("worktree", "list").splitlines()) == 1


def test_the_worktree_of_a_running_experiment_stays(worktree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with worktree.with_name("a.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert heal(capsys) == "no problems\n"
    assert worktree.exists()


def test_a_training_that_can_be_resumed_stays(worktree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (worktree / ".state/distill/0").mkdir(parents=True)
    (worktree / ".state/distill/0/1.ckpt").write_text("")
    assert "the same command resumes its training" in " ".join(heal(capsys, code=1).split())
    assert worktree.exists()


def test_a_folder_that_git_does_not_know_as_a_worktree_is_removed(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".state/experiments/b").mkdir(parents=True)
    heal(capsys)
    assert not Path(".state/experiments/b").exists()


def by_checkout() -> None:
    git("checkout", "-q", "--detach")


def without_reflog() -> None:
    git("update-ref", "--no-deref", "HEAD", "HEAD")
    Path(".git/HEAD").write_text(git("rev-parse", "HEAD"))
    shutil.rmtree(".git/logs")


@pytest.mark.parametrize("detach", [by_checkout, without_reflog])
def test_a_detached_head_is_reported_with_its_branch_and_not_moved(
    detach: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    detach()
    head = Path(".git/HEAD").read_text()
    assert "git switch main" in report(capsys)
    heal(capsys, code=1)
    assert Path(".git/HEAD").read_text() == head


def test_edits_that_dvc_stashed_are_reported_and_stay(capsys: pytest.CaptureFixture[str]) -> None:
    git("checkout", "-q", "--detach")
    Path("params.yaml").write_text("seed: 2\n")
    git("stash", "-q")
    git("switch", "-q", "main")
    assert "git stash show -p stash@{0}" in report(capsys)
    heal(capsys, code=1)
    assert len(git("stash", "list").splitlines()) == 1


def test_a_stash_of_the_user_is_no_problem(capsys: pytest.CaptureFixture[str]) -> None:
    Path("params.yaml").write_text("seed: 2\n")
    git("stash", "-q")
    assert report(capsys).strip() == "no problems"
