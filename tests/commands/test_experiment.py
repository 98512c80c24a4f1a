import os
import signal
import time
from pathlib import Path

import mlflow
import pytest
import yaml
from support.clones import edit_yaml, mlflow_runs, run_in
from support.git import git, user_state
from support.stores import copy_store
from support.stub_project import (
    copy_project,
    make_stub_project,
    run_experiment,
    set_seed,
    start_experiment,
)

from decant.commands import experiment
from decant.commands.experiment import Options
from decant.core.errors import UserError
from decant.evaluation import report
from decant.workspace.worktree import EXPERIMENTS


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_store: Path) -> Path:
    """A project whose stages are stubs."""
    return make_stub_project(tmp_path_factory.mktemp("stubs"), empty_mlflow_store)


@pytest.fixture
def project(template: Path, tmp_path: Path) -> Path:
    return copy_project(template, tmp_path / "project")


@pytest.mark.slow
def test_the_result_of_the_values_in_params_comes_into_the_folder(project: Path, tmp_path: Path) -> None:
    before = user_state(project)
    done = run_experiment(project, tmp_path)
    assert done.code == 0, done
    assert "The result is in data/" in done.out
    assert user_state(project) == before
    assert "up to date" in (done := run_in(project, "dvc", "status")).stdout, done
    assert [run.info.status for run in mlflow_runs(project)] == ["FINISHED"]
    assert not [f for f in (project / EXPERIMENTS).iterdir() if f.is_dir()]
    assert len(git(project, "for-each-ref", "refs/exps").splitlines()) == 1
    done = run_experiment(project, tmp_path)
    assert done.out.startswith("| model |\nNothing changed since this result."), done
    assert len(mlflow_runs(project)) == 1


@pytest.mark.slow
def test_other_values_leave_the_folder_as_it_is_until_the_experiment_is_applied(project: Path, tmp_path: Path) -> None:
    before = user_state(project)
    done = run_experiment(project, tmp_path, "-S", "seed=7", "-S", "conf/loss/kd.yaml:temperature=2.0", "--name", "x")
    assert done.code == 0, done
    assert "data/ is as before (it has other values than params.yaml). Take it over: dvc exp apply x" in done.out
    assert user_state(project) == before
    assert not (project / "dvc.lock").exists()
    git(project, "stash")  # dvc exp apply wants a clean folder
    done = run_in(project, "dvc", "exp", "apply", "x")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load((project / "params.yaml").read_text())["seed"] == 7
    assert "up to date" in (done := run_in(project, "dvc", "status")).stdout, done


@pytest.mark.slow
def test_an_edit_while_an_experiment_runs_changes_neither_its_result_nor_is_it_lost(
    project: Path, tmp_path: Path
) -> None:
    """The first of the defects: dvc.lock named the edited value, and the outputs were of the former one."""
    slow_down(project, "fine-tune", 1)
    process = start_experiment(project, tmp_path)
    wait_for_text(tmp_path / "out", "Running stage 'fine-tune'", process)
    set_seed(project, 5)
    before = user_state(project)
    process.join()
    assert process.exitcode == 0, (tmp_path / "err").read_text()
    assert "data/ is as before (files here changed while the experiment ran)" in (tmp_path / "out").read_text()
    assert user_state(project) == before
    (ref,) = git(project, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    lock = yaml.safe_load(git(project, "show", f"{ref}:dvc.lock"))
    assert {stage["params"]["params.yaml"]["seed"] for stage in lock["stages"].values()} == {1}
    assert mlflow_runs(project)[0].data.params["seed"] == "1"


@pytest.mark.slow
def test_experiments_run_side_by_side_one_of_them_killed(project: Path, tmp_path: Path) -> None:
    slow_down(project, "distill", 0.5)
    before = user_state(project)
    logs = [tmp_path / str(seed) for seed in range(4)]
    processes = []
    for seed, folder in enumerate(logs):
        folder.mkdir()
        processes.append(start_experiment(project, folder, "-S", f"seed={seed + 10}"))
    wait_for_text(logs[0] / "out", "Running stage 'pretrain-load'", processes[0])
    os.killpg(processes[0].pid, signal.SIGKILL)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes[1:]] == [0, 0, 0], [(f / "err").read_text() for f in logs]
    assert run_experiment(project, logs[0], "-S", "seed=10").code == 0
    assert user_state(project) == before
    refs = git(project, "for-each-ref", "--format=%(refname)", "refs/exps").split()
    locks = [yaml.safe_load(git(project, "show", f"{ref}:dvc.lock"))["stages"] for ref in refs]
    assert sorted(lock["distill"]["params"]["params.yaml"]["seed"] for lock in locks) == [10, 11, 12, 13]
    assert len({lock["distill"]["outs"][0]["md5"] for lock in locks}) == 4
    for lock in locks:  # what is recorded of a stage is what the next one read
        assert lock["distill"]["outs"][0]["md5"] in [dep["md5"] for dep in lock["evaluate"]["deps"]]
        assert len({stage["params"]["params.yaml"]["seed"] for stage in lock.values()}) == 1
    runs = mlflow_runs(project)
    assert sorted(run.data.params["seed"] for run in runs) == ["10", "11", "12", "13"]
    assert {run.info.status for run in runs} == {"FINISHED"}


@pytest.mark.slow
def test_a_bad_value_is_named_and_changes_nothing(project: Path, tmp_path: Path) -> None:
    before = user_state(project)
    for value, message in {
        "use.augment=flip": "for image data",
        "params.yaml:fine_tune.epoch=3": "did you mean 'epochs'",
        "conf/loss/kd.yaml:temprature=3": "-S temprature=3: ",
        "conf/loss/none/such.yaml:a=3": "none/such.yaml",
        "seed": "has no value",
    }.items():
        done = run_experiment(project, tmp_path, "-S", value)
        assert done.code == 2, done
        assert message in done.err
        assert "Traceback" not in done.err
    assert user_state(project) == before
    assert not mlflow_runs(project)


def test_seeds_and_a_seed_do_not_go_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="SEEDS is 2, expected no -S seed="):
        experiment.run(Options(set_param=["seed=1"], seeds=2))


def test_equal_commands_have_equal_worktrees_and_others_have_others() -> None:
    names = [
        experiment.worktree_name(Path(), *arguments)
        for arguments in ((None, []), ("x", []), (None, ["a=1"]), (None, ["a=2"]))
    ]
    assert len({*names, experiment.worktree_name(Path(), None, [])}) == 4


def test_values_that_a_file_has_already_leave_its_bytes_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("# mine\nseed:   0 # style\n")
    experiment.write_values(tmp_path, "params.yaml", ["seed=0"])
    assert file.read_text() == "# mine\nseed:   0 # style\n"
    experiment.write_values(tmp_path, "params.yaml", ["seed=1"])
    assert yaml.safe_load(file.read_text()) == {"seed": 1}
    assert "# mine" in file.read_text()


def slow_down(project: Path, stage: str, seconds: float) -> None:
    """Give a stub a time to run."""
    edit_yaml(
        project / "dvc.yaml",
        lambda dvc: dvc["stages"][stage].update(cmd=f"sleep {seconds} && {dvc['stages'][stage]['cmd']}"),
    )


def wait_for_text(file: Path, text: str, process: object) -> None:
    deadline = time.monotonic() + 120
    while text not in file.read_text():
        assert process.is_alive(), file.with_name("err").read_text()  # type: ignore[attr-defined]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["../params.yaml", "/etc/params.yaml", "conf/../../x.yaml"])
def test_a_value_for_a_file_outside_of_the_project_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names a file outside of the project"):
        experiment.write_values(tmp_path, name, ["seed=1"])


def test_a_value_for_a_linked_file_leaves_the_file_of_the_user_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("size: 1\n")
    (tmp_path / "link.yaml").symlink_to(tmp_path / "mine.yaml")
    experiment.write_values(tmp_path, "link.yaml", ["size=64"])
    assert (tmp_path / "mine.yaml").read_text() == "size: 1\n"
    assert (tmp_path / "link.yaml").read_text() == "size: 64\n"


def test_timings_that_were_deleted_are_not_restored(
    empty_mlflow_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(copy_store(empty_mlflow_store, tmp_path))
    client = mlflow.MlflowClient()
    run = client.create_run(mlflow.create_experiment("x", artifact_location=str(tmp_path / "artifacts")))
    assert not experiment.timings_restored(run)
    for name in report.TIMED:
        client.log_text(run.info.run_id, "measured", name)
    assert experiment.timings_restored(run)
    assert {(report.OUT / name).read_text() for name in report.TIMED} == {"measured"}
