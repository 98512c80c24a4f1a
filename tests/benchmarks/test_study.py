"""Claims about benchmarks/study.py and students.py: a study is what its title says, and a stage is not run twice."""

from pathlib import Path

import pytest
import students
import study
import workspaces
from study import Study, Variant

from decant.core.errors import UserError
from decant.core.files import read_json, write_json
from decant.core.hashing import sha256
from decant.distillation.student_training import TEACHER
from decant.models.predictions import FILE

pytestmark = pytest.mark.slow

EXPERIMENT = Variant.parse("default", "default")


@pytest.fixture(autouse=True)
def workspaces_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workspaces in the test's folder, with a teacher for each of two seeds."""
    monkeypatch.setattr(workspaces, "WORKSPACES", tmp_path / "workspaces")
    for seed in (0, 1):
        teacher = ensemble_study("default").path(seed) / TEACHER
        teacher.mkdir(parents=True)
        (teacher / FILE).write_text(f"teacher {seed}")


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands of stages, which do not run."""
    calls: list[list[str]] = []
    monkeypatch.setattr(workspaces.subprocess, "run", lambda command, **_: calls.append(command))
    return calls


def ensemble_study(*texts: str, common: tuple[str, ...] = ()) -> Study:
    variants = [Variant.parse(text, "default") for text in texts]
    return Study(variants, list(common), [0, 1], ensemble=True, jobs=1)


def run_once(stage: str, folder: Path, studied: Study, seed: int = 0) -> None:
    config = studied.config(studied.variants[0], seed, stage)
    study.run_once(stage, study.free_cores(1), folder, [], config)


def test_variants_are_names_and_changes() -> None:
    assert Variant.parse("use.loss=dkd,distill.epochs=2", "a") == Variant(
        "use.loss=dkd,distill.epochs=2", "a", ("use.loss=dkd", "distill.epochs=2"), labelled_only=False
    )
    parsed = Variant.parse("other,unlabelled=none,distill.teachers={x:1,y:2}", "a")
    assert (parsed.name, parsed.changes, parsed.labelled_only) == ("other", ("distill.teachers={x:1,y:2}",), True)
    assert Variant.parse("loss.layers=[[0,1],[1,3]],use.loss=hint", "a").changes == (
        "loss.layers=[[0,1],[1,3]]",
        "use.loss=hint",
    )


def test_a_variant_of_another_teacher_is_refused() -> None:
    ensemble_study("default", "use.loss=dkd", "use.student=lstm", "unlabelled=none").check()
    for text, key in (("fine_tune.epochs=2", "fine_tune.epochs"), ("use.teacher=lstm", "use.teacher")):
        with pytest.raises(UserError, match=key):
            ensemble_study("default", text).check()


def test_students_learn_from_the_teachers_of_the_other_seeds() -> None:
    studied = ensemble_study("default")
    teacher_0 = sha256(studied.path(0) / TEACHER / FILE)
    for stage in ("distill", "evaluate"):
        assert f"distill.teachers={{data/raw/teacher_0:'{teacher_0}'}}" in studied.overrides(EXPERIMENT, 1, stage)
        assert studied.config(EXPERIMENT, 1, stage)["distill"]["teachers"] == {"data/raw/teacher_0": teacher_0}
    assert sha256(studied.workspace(EXPERIMENT, 1) / "data/raw/teacher_0" / FILE) == teacher_0
    for stage in ("prepare", "pretrain_load", "fine_tune"):  # no teacher exists yet
        assert studied.config(EXPERIMENT, 1, stage)["distill"]["teachers"] == {}


def test_teachers_stay_when_a_value_of_the_student_changes(tmp_path: Path, commands: list[list[str]]) -> None:
    changed = ensemble_study("default", common=("distill.epochs=9",))
    for stage in ("prepare", "fine_tune", "pretrain_load"):
        run_once(stage, tmp_path, ensemble_study("default"))
        if stage in study.SHARED:
            run_once(stage, tmp_path, changed)
    assert len(commands) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seeds=0-4"], "seeds=0-4, expected numbers"),
        (["seed=3"], "and no seed="),
        (["teachers=2"], "teachers=2"),
        (["jobs=two"], "jobs=two, expected a whole number"),
    ],
)
def test_arguments_of_another_study_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        students.parse_study("default", words)
    with pytest.raises(UserError, match="no experiment is named"):
        students.main(["jobs=2"])


def test_a_student_that_closes_nothing_counts_and_an_unknown_share_is_left_out() -> None:
    def result(closed: float | None, retained: float | None) -> students.Result:
        model = {"accuracy": 0.5, "size_mb": 1.0, "parameters": 1}
        pair = {"retained": retained, "retained_low": retained}
        return students.Result(
            {
                "teacher": model,
                "student": model,
                "compare": {"student_vs_teacher": pair},
                "gap": {"student": {"closed": closed}},
            },
            {"teacher": {"latency_ms_p50": 2.0}, "student": {"latency_ms_p50": 1.0}},
        )

    results = [result(0.0, 0.5), result(0.5, None), result(None, None)]
    assert students.gap_shares(results) == [0.0, 0.5]
    assert students.row("student", "student", "accuracy", results)[-2:] == ["50.00", "50.0"]
    assert students.row("teacher", "teacher", "accuracy", results)[-2:] == ["", ""]


def test_the_command_of_a_section_makes_its_study_again() -> None:
    arguments = ["default+use.loss=dkd", "seeds=0,1", "teachers=all", "jobs=2", "distill.epochs=1"]
    studied = students.parse_study(arguments[0], arguments[1:])
    assert students.command(studied).split() == arguments


def test_a_labelled_only_variant_has_the_data_without_the_unlabelled_rows(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    write_json(source / "card.json", {"splits": {"train": {"rows": 2}, "unlabelled": {"rows": 3}}})
    for split in ("train", "unlabelled"):
        (source / f"{split}.parquet").write_bytes(b"rows")
    study.share_data(tmp_path / "labelled", source, labelled_only=True)
    assert read_json(tmp_path / "labelled/card.json")["splits"] == {"train": {"rows": 2}}
    assert not (tmp_path / "labelled/unlabelled.parquet").exists()
    assert "unlabelled" in read_json(source / "card.json")["splits"]  # the other variants use it
    study.share_data(tmp_path / "all", source, labelled_only=False)
    assert (tmp_path / "all").samefile(source)


def test_a_stage_that_has_run_is_not_taken_for_another(tmp_path: Path, commands: list[list[str]]) -> None:
    for _ in range(2):
        run_once("distill", tmp_path, ensemble_study("default"), seed=0)
    assert len(commands) == 1
    message = r"of another configuration: distill\.teachers\.data/raw/teacher_0, .*teacher_1, seed; remove"
    with pytest.raises(UserError, match=message):
        run_once("distill", tmp_path, ensemble_study("default"), seed=1)
