"""Claims about benchmarks/study.py: what a benchmark reads is what its title says."""

from pathlib import Path
from queue import SimpleQueue

import pytest
import study
from conftest import ROOT
from study import Study, Variant

from decant import UserError, run


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
    assert "distill.teachers=[data/raw/teacher_0]" in asked("support").words(Variant.parse("support", "support"), 1)


def test_a_bare_variant_has_the_data_without_what_is_unlabelled(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    run.write_json(whole / "card.json", {"splits": {"train": {"rows": 2}, "unlabelled": {"rows": 3}}})
    for split in ("train", "unlabelled"):
        (whole / f"{split}.parquet").write_bytes(b"rows")
    study.share(tmp_path / "bare", whole, bare=True)
    assert run.read_json(tmp_path / "bare/card.json")["splits"] == {"train": {"rows": 2}}
    assert not (tmp_path / "bare/unlabelled.parquet").exists()
    assert "unlabelled" in run.read_json(whole / "card.json")["splits"]  # of those who share it all
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
