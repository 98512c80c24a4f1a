"""README's table "What re-runs", row by row: DVC on the real dvc.yaml, with stages that only hash their inputs."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo
from support.paths import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of libraries of DVC
]
STUB = ROOT / "tests/support/stub_stage.py"
ALL = ["prepare", "pretrain-load", "fine-tune", "distill", "evaluate"]
Change = Callable[[Path], object]


def value(key: str, new: object) -> Change:
    """Another value in params.yaml."""

    def change(project: Path) -> None:
        params = yaml.safe_load((project / "params.yaml").read_text())
        *sections, name = key.split(".")
        section = params
        for part in sections:
            section = section[part]
        assert section[name] != new, f"{key} is {new} already"
        section[name] = new
        (project / "params.yaml").write_text(yaml.safe_dump(params))

    return change


def component(file: str, **values: object) -> Change:
    """Other values in a yaml of conf/."""

    def change(project: Path) -> None:
        content = yaml.safe_load((project / "conf" / file).read_text())
        (project / "conf" / file).write_text(yaml.safe_dump(content | values))

    return change


def comment(file: str) -> Change:
    """A comment at the end of a file."""

    def change(project: Path) -> None:
        assert (project / file).exists()
        with (project / file).open("a") as opened:
            opened.write("# a comment\n")

    return change


def comment_everywhere(*packages: str) -> Change:
    """A comment at the end of every file of some packages."""

    def change(project: Path) -> None:
        files = [f for name in packages for f in sorted((project / "src/decant" / name).rglob("*.py"))]
        assert len(files) > 20
        for file in files:
            comment(str(file.relative_to(project)))(project)

    return change


def new_file(file: str, content: str = "") -> Change:
    """A file that was not there."""
    return lambda project: (project / file).write_text(content)


CASES: dict[str, list[tuple[str, Change, list[str]]]] = {
    "a comment in a yaml; a yaml that is not chosen; `conf/trainer/`, `conf/experiment/`": [
        ("comment in a yaml", comment("conf/loss/kd.yaml"), []),
        ("yaml that is not chosen", component("backbone/distilbert.yaml", lr_scale=2.0), []),
        ("new yaml", new_file("conf/loss/new.yaml", "_target_: decant.loss.none.NoDistillation\n"), []),
        ("trainer", component("trainer/auto.yaml", threads=1), []),
        ("experiment", component("experiment/digits.yaml", seed=1), []),
    ],
    "`use.loss`, `distill.*`, `export.*`; code in `loss/`, `distillation/`": [
        ("loss", value("use.loss", "none"), ["distill", "evaluate"]),
        ("distill", value("distill.epochs", 9), ["distill", "evaluate"]),
        ("export", value("export.calibration", 9), ["distill", "evaluate"]),
        ("code of a loss", comment("src/decant/loss/hint.py"), ["distill"]),
        ("code of distillation", comment("src/decant/distillation/distiller.py"), ["distill"]),
    ],
    "`fine_tune.*`, `use.adapt`; code in `adapt/`": [
        ("fine_tune", value("fine_tune.epochs", 9), ["fine-tune", "distill", "evaluate"]),
        ("adapt", value("use.adapt", "lora"), ["fine-tune", "distill", "evaluate"]),
        ("code of an adaptation", comment("src/decant/adapt/lora.py"), ["fine-tune"]),
    ],
    "`use.student`, `use.teacher`, `use.scratch`, `pretrain_load.*`; code in `backbone/`": [
        ("student", value("use.student", "minilm_2"), ["pretrain-load", "distill", "evaluate"]),
        ("teacher", value("use.teacher", "tiny"), ["pretrain-load", "fine-tune", "distill", "evaluate"]),
        ("scratch", value("use.scratch", "tiny"), ["pretrain-load", "fine-tune", "distill", "evaluate"]),
        ("pretrain_load without a pretraining", value("pretrain_load.epochs", 9), ["pretrain-load"]),
        ("new backbone", new_file("src/decant/backbone/new.py", '"""A family nobody chose."""\n'), ["pretrain-load"]),
    ],
    "`use.augment`; code in `augment/`, `training/`": [
        ("augment", value("use.augment", "words"), ["pretrain-load", "fine-tune", "distill", "evaluate"]),
        ("code of an augmentation", comment("src/decant/augment/flip.py"), ["pretrain-load", "fine-tune", "distill"]),
        ("training", comment("src/decant/training/learner.py"), ["pretrain-load", "fine-tune", "distill"]),
    ],
    "`use.data`, `use.source`, `prepare.*`; code in `data/`, `preparation/`": [
        ("data", value("use.data", "toy"), ["prepare", "fine-tune", "distill", "evaluate"]),
        ("source without a pretraining", value("use.source", "toy"), ["prepare"]),
        ("prepare", value("prepare.test", 0.3), ["prepare", "fine-tune", "distill", "evaluate"]),
        ("code of a data source", comment("src/decant/data/folder.py"), ["prepare"]),
        ("preparation", comment("src/decant/preparation/splits.py"), ["prepare"]),
    ],
    "`use.pretrain`; a file in `data/raw/`; code in `pretrain/`": [
        ("pretrain", value("use.pretrain", "masked"), ALL),
        ("raw data", comment("data/raw/support/train.csv"), ALL),
        ("code of a pretraining", comment("src/decant/pretrain/masked.py"), ["prepare", "pretrain-load"]),
    ],
    "`use.task`": [("task", value("use.task", "multilabel"), ["prepare", "fine-tune", "distill", "evaluate"])],
    "`evaluate.*`; code in `evaluation/`": [
        ("evaluate", value("evaluate.bins", 9), ["evaluate"]),
        ("report", comment("src/decant/evaluation/report.py"), ["evaluate"]),
    ],
    "a value in the yaml of a chosen component": [
        ("value of the loss", component("loss/kd.yaml", temperature=2.0), ["distill", "evaluate"]),
        (
            "value of the adaptation",
            component("adapt/full.yaml", batch_norm="update"),
            ["fine-tune", "distill", "evaluate"],
        ),
        ("value of the pretraining", component("pretrain/none.yaml", new=1), ["pretrain-load"]),
    ],
    "`seed`; code in `task/`, `dataset/`, `models/`": [
        ("seed", value("seed", 1), ALL),
        ("code of a task", comment("src/decant/task/classify/objective.py"), ALL),
        ("dataset", comment("src/decant/dataset/prepared.py"), ALL),
        ("models", comment("src/decant/models/predictions.py"), ALL),
    ],
    "code in `serving/`": [
        ("serving", comment("src/decant/serving/predictor.py"), ["prepare", "distill", "evaluate"]),
    ],
    "code in `core/`, `config/`, `experiment/`, `tracking/`, `commands/`, `cli.py`": [
        ("every file of them", comment_everywhere("tracking", "commands", "config", "experiment", "core"), []),
        ("command line", comment("src/decant/cli.py"), []),
    ],
}
"""By row of the table: what is changed, and which stages run."""


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with stub stages, all of them up to date."""
    project = tmp_path_factory.mktemp("project")
    for name in ("conf", "src", "data/raw"):
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("params.yaml", "dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, project / name)
    pipeline = yaml.safe_load((project / "dvc.yaml").read_text())
    for name, stage in pipeline["stages"].items():
        stage["cmd"] = f"{sys.executable} {STUB} {name}"
    (project / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=project, check=True)
    assert repro(project) == ALL
    return project


def repro(project: Path) -> list[str]:
    """`dvc repro` in this process; the stages that ran."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return [stage.name for stage in Repo(str(project)).reproduce()]


def table() -> list[str]:
    """The changes that README's table names, row by row."""
    section = (ROOT / "README.md").read_text().partition("**What re-runs**")[2]
    rows = re.findall(r"^\| (.*?) \| .* \|$", section.split("\n\n")[1], re.MULTILINE)
    return [row for row in rows if not set(row) <= set("-|: ") and row != "change"]


def test_every_row_of_the_table_is_tested() -> None:
    assert table() == list(CASES)


@pytest.mark.parametrize(
    ("change", "stages"), [pytest.param(c, s, id=name) for cases in CASES.values() for name, c, s in cases]
)
def test_a_change_re_runs(change: Change, stages: list[str], reproduced: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(reproduced, project, symlinks=True)
    change(project)
    assert repro(project) == stages
