"""Every mistake of a user is named in a sentence, before any training, and costs nothing that was made before."""

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from stat import S_IFMT, S_ISREG

import pytest
import yaml
from support.bad_inputs import TABLE
from support.bad_inputs.builders import GOOD, HERE, MINE, Bad, Content, Special
from support.commands import STAGES, Done, run_fork, run_here, run_stage
from support.paths import ROOT
from support.stores import copy_store

from decant.config import compose
from decant.config.compose import Values
from decant.core.hashing import sha256

pytestmark = pytest.mark.slow
SECRET = "s3cret"
ENV = {"HF_TOKEN": f"hf_{SECRET}", "AWS_SECRET_ACCESS_KEY": SECRET, "MLFLOW_TRACKING_PASSWORD": SECRET}
LARGE = 1 << 30
DIGESTS: dict[tuple[int, int, int], str] = {}
"""Of files that are not written to in the meantime, by inode, size and time of the last change."""
SMALL = {"epochs": 1, "control_epochs": 1, "max_length": 16, "batch_size": 16}
DATA = """_target_: decant.data.table.Table
train: data/raw/mine.csv
input: text
target: intent
"""
PICTURES = """_target_: decant.data.folder.Folder
path: data/raw/pictures
size: 8
"""
WEIGHTS = """_target_: decant.backbone.huggingface.HuggingFace
path: data/raw/weights
"""
ENTRIES = [pytest.param(bad, id=f"{kind}: {bad.name}") for kind, entries in TABLE.items() for bad in entries]


def test_the_table_is_long_and_its_names_are_unique() -> None:
    names = [entry.id for entry in ENTRIES]
    assert len(names) == len(set(names)) >= 500


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_store: Path) -> Path:
    """A project with all that four stages write, components of its own, and weights in a folder."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(ROOT / "conf", folder / "conf")
    for kind, name, text in (("data", "mine", DATA), ("data", "pictures", PICTURES), ("backbone", "weights", WEIGHTS)):
        (folder / "conf" / kind / f"{name}.yaml").write_text(text)
    shutil.copytree(ROOT / "data/raw/support", folder / "data/raw/support")
    for name in ("test", "unlabelled"):  # fewer rows, for speed
        file = folder / f"data/raw/support/{name}.csv"
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:200]))
    write_params(folder / "params.yaml")
    for name in STAGES[:-1]:  # nothing reads what evaluate writes
        done = run_here([name], folder)
        assert done.code == 0, done.err
    shutil.copytree(folder / "data/fine_tune", folder / "data/raw/weights")
    copy_store(empty_mlflow_store, folder)
    return folder


def write_params(file: Path) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["use"] |= {"data": "toy", "teacher": "tiny", "student": "tiny", "scratch": "tiny"}
    for section in ("fine_tune", "distill"):
        params[section] |= SMALL
    params["evaluate"]["resamples"] = 10
    file.write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the finished project, for a test to change."""
    folder = Path(shutil.copytree(finished, tmp_path / "project", copy_function=link))
    yield folder
    shutil.rmtree(folder)


def link(source: str, target: str) -> None:
    """A copy, or, of what is never written in place, a hard link, which takes less time."""
    if source.endswith(".db"):
        shutil.copy(source, target)
    else:
        Path(target).hardlink_to(source)


def put(path: Path, content: Content) -> None:
    """Make what is at `path` as an entry says."""
    if callable(content):
        content = content(path.read_bytes())
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Special):
        content.make(path)
    elif content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def arrange(bad: Bad, project: Path) -> None:
    for name, content in bad.files.items():
        if name.endswith("/"):
            (project / name).mkdir()
        else:
            put(project / name, content)


def snapshot(folder: Path) -> dict[Path, tuple[int, str | int]]:
    """What is in a folder: kinds and contents; of a file of a terabyte the size."""
    stats = {path: path.lstat() for path in folder.rglob("*") if not path.is_dir()}
    return {
        path: (S_IFMT(s.st_mode), digest(path, s) if S_ISREG(s.st_mode) and s.st_size < LARGE else s.st_size)
        for path, s in stats.items()
    }


def digest(path: Path, stat: os.stat_result) -> str:
    """The sha256 of a file, computed again if anything wrote to it: most files are links to those of `finished`."""
    key = stat.st_ino, stat.st_size, stat.st_mtime_ns
    if key not in DIGESTS:
        DIGESTS[key] = sha256(path)
    return DIGESTS[key]


def check(bad: Bad, done: Done) -> None:
    assert done.code == 2, done
    assert bad.culprit in done.err
    assert bad.remedy in done.err
    assert "Traceback" not in done.err
    assert SECRET not in done.out + done.err
    assert "epoch" not in done.out


@pytest.fixture(scope="module")
def remembered() -> Callable[..., Values]:
    """Hydra's part of `composed`, done once for equal overrides: it takes most of the time of an entry."""
    return lru_cache(compose._compose)


def leaves_config(bad: Bad) -> bool:
    """Whether an entry changes nothing that Hydra reads."""
    return not bad.forked and not bad.env and not any(name.startswith(("conf", "params.yaml")) for name in bad.files)


@pytest.mark.parametrize("bad", ENTRIES)
def test_bad_input_is_named_with_a_remedy_before_training_and_costs_nothing(
    bad: Bad,
    project: Path,
    finished: Path,
    tmp_path: Path,
    remembered: Callable[..., Values],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrange(bad, project)
    before = snapshot(project / "data")
    words, env = shlex.split(bad.command), ENV | bad.env
    if leaves_config(bad):
        monkeypatch.setattr(compose, "_compose", lambda _, overrides: remembered(finished, tuple(overrides)))
    done = run_fork(words, project, env, tmp_path) if bad.forked else run_here(words, project, env)
    check(bad, done)
    assert snapshot(project / "data") == before
    assert not list((project / ".state").rglob("*.ckpt"))


IN_PROCESSES = {"config: section misspelt": [], "command line: predict from no column": []}
IN_PROCESSES |= {
    name: [pytest.mark.nightly]
    for name in ("environment: fine-tune without prepare", "command line: experiment with a key misspelt")
}


@pytest.mark.parametrize(
    "bad",
    [pytest.param(*e.values, id=e.id, marks=IN_PROCESSES[e.id]) for e in ENTRIES if e.id in IN_PROCESSES],
)
def test_a_command_in_its_own_process_prints_the_same_with_the_same_exit_code(bad: Bad, project: Path) -> None:
    arrange(bad, project)
    here = run_here(shlex.split(bad.command), project, ENV | bad.env)
    module, *words = shlex.split(bad.command)
    done = run_stage(module, *words, cwd=project, **ENV, **bad.env)
    assert (done.returncode, done.stdout, done.stderr) == here


@pytest.mark.parametrize(("command", "cleared"), [("prepare", False), ("distill", True)])
def test_dvc_checkout_is_recommended_if_dvc_deleted_outputs(command: str, cleared: bool, project: Path) -> None:
    done = run_here([command, "fine_tune.warmup=2"], project, {"DVC_STAGE": command})
    assert done.code == 2
    assert ("dvc checkout" in done.err) == cleared


def test_inputs_with_different_labels_are_counted_by_prepare(project: Path) -> None:
    put(project / MINE, GOOD + "message 0,b\n")
    done = run_here([*HERE.split(), "prepare.test=0.1"], project)
    assert done.code == 0, done.err
    assert "1 inputs occur with different labels" in done.out
