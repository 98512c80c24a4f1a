"""Claims about benchmarks/study.py: what a benchmark reads is what its title says."""

from pathlib import Path
from queue import SimpleQueue

import pytest
import students
import study
from study import Study, Variant
from support.paths import ROOT

from decant.core.errors import UserError
from decant.core.files import read_json, write_json


def asked(*texts: str) -> Study:
    return Study([Variant.parse(text, "support") for text in texts], [], [0, 1], ensemble=True, jobs=1)


def test_variants_are_names_and_changes() -> None:
    assert Variant.parse("use.loss=dkd,distill.epochs=2", "a") == Variant(
        "use.loss=dkd,distill.epochs=2", "a", ("use.loss=dkd", "distill.epochs=2"), bare=False
    )
    found = Variant.parse("other,unlabelled=none,distill.teachers=[x,y]", "a")
    assert (found.name, found.changes, found.bare) == ("other", ("distill.teachers=[x,y]",), True)


def test_a_variant_of_another_teacher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study.sections, "ROOT", ROOT)
    asked("support", "use.loss=dkd", "use.student=lstm", "unlabelled=none").check()
    for text, key in (("fine_tune.epochs=2", "fine_tune.epochs"), ("use.teacher=lstm", "use.teacher")):
        with pytest.raises(UserError, match=key):
            asked("support", text).check()


def test_students_learn_from_the_teachers_of_the_other_seeds() -> None:
    variant = Variant.parse("support", "support")
    assert "distill.teachers=[data/raw/teacher_0]" in asked("support").words(variant, 1, "distill")
    for stage in ("prepare", "pretrain_load", "fine_tune"):  # which refuse teachers that are still to be made
        assert not [w for w in asked("support").words(variant, 1, stage) if "teacher_0" in w]


def test_what_was_made_before_a_knob_of_the_student_changed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(study.subprocess, "run", lambda command, **_: calls.append(command))
    cores: study.Cores = SimpleQueue()
    cores.put(None)
    other = Study(asked("support").variants, ["distill.epochs=9"], [0, 1], ensemble=True, jobs=1)
    for stage in ("prepare", "fine_tune", "pretrain_load"):
        study.once(stage, cores, tmp_path, [], asked("support").composed(asked("support").variants[0], 0))
        if stage in study.SHARED:
            study.once(stage, cores, tmp_path, [], other.composed(other.variants[0], 0))
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [(["seeds=0-4"], "seeds=0-4, expected numbers"), (["seed=3"], "and no seed="), (["teachers=2"], "teachers=2")],
)
def test_words_that_would_make_another_study_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        students.asked("support", words)
    with pytest.raises(UserError, match="no experiment is named"):
        students.main(["jobs=2"])


def test_a_student_that_closes_nothing_counts_and_a_share_that_is_not_known_is_left_out() -> None:
    def result(closed: float | None, retained: float | None) -> students.Result:
        model = {"accuracy": 0.5, "size_mb": 1.0, "parameters": 1}
        pair = {"retained": retained, "retained_low": retained}
        return (
            {
                "teacher": model,
                "student": model,
                "compare": {"student_teacher": pair},
                "gap": {"student": {"closed": closed}},
            },
            {"teacher": {"latency_ms_p50": 2.0}, "student": {"latency_ms_p50": 1.0}},
        )

    found = [result(0.0, 0.5), result(0.5, None), result(None, None)]
    assert students.closed(found) == [0.0, 0.5]
    assert students.row("student", "student", "accuracy", found)[-2:] == ["50.00", "50.0"]


def test_a_bare_variant_has_the_data_without_what_is_unlabelled(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    write_json(whole / "card.json", {"splits": {"train": {"rows": 2}, "unlabelled": {"rows": 3}}})
    for split in ("train", "unlabelled"):
        (whole / f"{split}.parquet").write_bytes(b"rows")
    study.share(tmp_path / "bare", whole, bare=True)
    assert read_json(tmp_path / "bare/card.json")["splits"] == {"train": {"rows": 2}}
    assert not (tmp_path / "bare/unlabelled.parquet").exists()
    assert "unlabelled" in read_json(whole / "card.json")["splits"]  # of those who share it all
    study.share(tmp_path / "mine", whole, bare=False)
    assert (tmp_path / "mine").samefile(whole)


def test_a_stage_that_has_run_is_not_taken_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(study.subprocess, "run", lambda command, **_: calls.append(command))
    cores: study.Cores = SimpleQueue()
    cores.put(None)
    made = asked("support")
    (variant,) = made.variants
    for _ in range(2):
        study.once("distill", cores, tmp_path, ["seed=0"], made.composed(variant, 0))
    assert len(calls) == 1
    with pytest.raises(UserError, match=r"of another configuration: distill\.teachers, seed; remove"):
        study.once("distill", cores, tmp_path, ["seed=1"], made.composed(variant, 1))
