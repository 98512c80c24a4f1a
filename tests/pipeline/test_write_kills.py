"""DVC killed while it writes a file in place: no experiment is lost, and the files of the user stay as they are."""

import os
from contextlib import chdir
from pathlib import Path

import pytest
from support.clones import environment, repro, run_in
from support.commands import run_fork
from support.git import user_state
from support.killed_writes import plan_kill
from support.stub_project import SCRIPT, copy_project, lock_digests, make_stub_project, run_experiment, set_seed

from decant.core import valid_copies

pytestmark = pytest.mark.slow
WRITES = {
    "the first dvc.lock is empty, DVC is killed": ("dvc.lock", 0, 0, "process"),
    "the second dvc.lock is empty, all is killed": ("dvc.lock", 1, 0, "group"),
    "the third dvc.lock is cut, all is killed": ("dvc.lock", 2, 25, "group"),
    "the last dvc.lock is cut, DVC is killed": ("dvc.lock", 4, 60, "process"),
    "rwlock is empty, DVC is killed": ("rwlock", 3, 0, "process"),
    "rwlock is cut, all is killed": ("rwlock", 5, 1, "group"),
}
"""File, how often it was opened for writing before, how many strings were written, and what is killed."""
QUICK = ("the first dvc.lock is empty, DVC is killed",)


@pytest.fixture(scope="module")
def stub_project(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_store: Path) -> Path:
    return make_stub_project(tmp_path_factory.mktemp("stub") / "project", empty_mlflow_store)


@pytest.fixture
def project(stub_project: Path, tmp_path: Path) -> Path:
    return copy_project(stub_project, tmp_path / "project")


@pytest.fixture(scope="module")
def digests(stub_project: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an experiment writes that nobody kills."""
    folder = tmp_path_factory.mktemp("reference")
    reference = copy_project(stub_project, folder / "project")
    assert run_experiment(reference, folder).code == 0
    return lock_digests(reference)


@pytest.mark.parametrize(
    "write", [*QUICK, *(pytest.param(write, marks=pytest.mark.nightly) for write in WRITES if write not in QUICK)]
)
def test_an_experiment_goes_on_after_dvc_was_killed_in_a_write(
    write: str, project: Path, digests: dict[str, str], tmp_path: Path
) -> None:
    before = user_state(project)
    killer = plan_kill(tmp_path, *WRITES[write])
    env = environment(project)
    env["PYTHONPATH"] += f"{os.pathsep}{killer}"
    killed = run_fork(["-c", SCRIPT, "experiment"], project, env, tmp_path)
    assert not (killer / "plan").exists(), "nothing was killed"
    assert killed.code != 0
    assert user_state(project) == before
    assert not (project / "dvc.lock").exists()
    done = run_experiment(project, tmp_path)
    assert done.code == 0, done
    assert lock_digests(project) == digests
    assert user_state(project) == before


def test_doctor_restores_the_lock_of_a_plain_repro_that_was_killed_in_a_write(
    project: Path, digests: dict[str, str], tmp_path: Path
) -> None:
    assert run_experiment(project, tmp_path).code == 0
    complete = (project / "dvc.lock").read_bytes()
    with chdir(project):
        valid_copies.save()  # as each real stage does at its start
    set_seed(project, 2)
    killer = plan_kill(tmp_path, "dvc.lock", 0, 25, "process")
    path = f"{project / 'src'}{os.pathsep}{killer}"
    assert run_in(project, "dvc", "repro", PYTHONPATH=path).returncode != 0
    assert len((project / "dvc.lock").read_bytes()) < len(complete)
    assert run_in(project, "dvc", "repro").returncode != 0
    healed = run_in(project, "python", "-m", "decant.cli", "doctor", "--heal")
    assert (project / "dvc.lock").read_bytes() == complete, healed
    set_seed(project, 1)
    repro(project)
    assert lock_digests(project) == digests
