"""Here stages write their outputs in milliseconds; tests/pipeline/test_pipeline.py reproduces the real ones."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.paths import ROOT

from decant.commands import verify
from decant.core.errors import UserError
from decant.core.hashing import digest
from decant.tracking import provenance
from decant.tracking.outputs import output_path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of libraries of DVC
]
STAGE = """
import sys
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import save_file

threads = yaml.safe_load(Path("conf/trainer/auto.yaml").read_text())["threads"]
weights = np.ones(1000, np.float32)
folder = Path("data", sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
save_file({"w": weights + 1e-4 * threads * (sys.argv[1] == "fine_tune")}, folder / "model.safetensors")
"""
PIPELINE = """
stages:
  prepare:
    cmd: python stage.py prepare
    deps: [stage.py]
    params: [seed]
    outs: [data/prepare]
  fine-tune:
    cmd: python stage.py fine_tune
    deps: [data/prepare]
    outs: [data/fine_tune]
"""
TRAINER = "conf/trainer/auto.yaml"


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two small stages, whose outputs, dvc.lock and provenance.json are committed."""
    project = tmp_path_factory.mktemp("committed")
    shutil.copytree(ROOT / "conf", project / "conf")
    shutil.copy(ROOT / "params.yaml", project)
    (project / "stage.py").write_text(STAGE)
    (project / "dvc.yaml").write_text(PIPELINE)
    (project / "data").mkdir()
    (project / ".gitignore").write_text("/data\n/.state\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        environment(patch)
        for command in ("git init --quiet", "dvc init --quiet", "dvc repro --quiet"):
            subprocess.run(command.split(), check=True)
        trainer = verify.Experiment.load().config["trainer"]
        for stage in ("prepare", "fine_tune"):
            provenance.record(stage, digest(output_path(stage)), provenance.environment(trainer))
        commit()
    return project


def environment(patch: pytest.MonkeyPatch) -> None:
    """The programs of this environment, and nothing of a project that runs the tests."""
    patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith(("DVC_", "GIT_", "MLFLOW_", "DECANT_"))]:
        patch.delenv(name)


def commit() -> None:
    for command in ("git add -A", "git -c user.name=t -c user.email=t@t commit -qm more"):
        subprocess.run(command.split(), check=True)


@pytest.fixture
def project(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the committed project, as the working directory."""
    environment(monkeypatch)
    monkeypatch.chdir(shutil.copytree(committed, tmp_path / "project", symlinks=True))
    return tmp_path / "project"


def test_equal_bytes_have_the_exit_code_0_and_the_clone_is_deleted(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify.run(0.01) == 0
    out = capsys.readouterr().out
    assert out.count("byte-equal") == 2
    assert "The environment is the one in which they were made" in out
    assert not (project / verify.CLONE).exists()


@pytest.mark.parametrize(
    ("tolerance", "code", "words"),
    [(0.01, 3, "equal within tolerance"), (1e-6, 4, "different")],
)
def test_a_difference_is_measured_and_the_change_of_the_environment_named(
    tolerance: float, code: int, words: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project / TRAINER
    file.write_text(file.read_text().replace("threads: 2", "threads: 3"))
    commit()
    assert verify.run(tolerance) == code
    out = capsys.readouterr().out
    assert f"{words} │ 0.0001 │ model.safetensors" in " ".join(out.split())
    assert out.count("byte-equal") == 1
    assert "- trainer.threads was 2, and is 3 here (fine_tune, prepare)" in out
    assert (project / verify.CLONE / "data/fine_tune").is_dir()


def test_a_lock_of_other_values_than_are_committed_is_refused(project: Path) -> None:
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("seed: 0", "seed: 1"))
    commit()
    with pytest.raises(UserError, match=r"made with other params.yaml: seed than are committed"):
        verify.run(0.01)


def test_changes_that_are_not_committed_are_not_verified_and_are_named(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("seed: 0", "seed: 1"))
    clone = verify.clone_project(project, project / verify.CLONE)
    assert "not committed, so not verified: params.yaml" in capsys.readouterr().out
    assert verify.outdated_dependencies(clone) == []


def test_a_project_without_a_committed_lock_is_refused(project: Path) -> None:
    (project / "dvc.lock").unlink()
    commit()
    with pytest.raises(UserError, match=r"no dvc.lock is committed here"):
        verify.run(0.01)


def test_an_output_that_only_one_side_has_is_different(tmp_path: Path) -> None:
    rows = list(verify.compare_outputs(tmp_path, "HEAD", {"a": "1", "b": "2"}, {"a": "1", "c": "3"}, 0.01))
    assert [row[:2] for row in rows] == [["a", "byte-equal"], ["b", "different"], ["c", "different"]]


def test_a_difference_without_the_committed_bytes_is_not_measured(project: Path) -> None:
    shutil.rmtree(project / ".dvc/cache")
    shutil.rmtree(project / "data")
    commit_id = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    clone = verify.clone_project(project, project / verify.CLONE)
    (clone / "data/fine_tune").mkdir(parents=True)
    save_file({"w": np.ones(1, np.float32)}, clone / "data/fine_tune/model.safetensors")
    row = verify.measure(clone, commit_id, "data/fine_tune", 0.01)
    assert row[1] == "different"
    assert "not in DVC's cache, so not measured" in row[3]


def test_without_provenance_the_reasons_are_unknown(project: Path) -> None:
    assert verify.explain(project, {}, []) == [
        "provenance.json is not committed: where these outputs were made is not known"
    ]


def test_a_provenance_of_another_output_is_named(project: Path) -> None:
    recorded = provenance.read(project)
    recorded["prepare"]["digest"] = "00"
    lines = verify.explain(project, recorded, ["data/prepare", "data/fine_tune"])
    assert "- provenance.json describes another output (prepare)" in lines
