"""Outputs of earlier stages are checked before a stage starts to work."""

from pathlib import Path

import pytest
from support.commands import run_here
from support.tiny_project import write_prepared

from decant.core import manifest
from decant.core.errors import UserError
from decant.dataset.prepared import read_prepared
from decant.experiment.verification import verify_inputs


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.fixture
def outputs(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What prepare wrote, and, in the place of model directories, folders of a few files with their manifests."""
    monkeypatch.chdir(project)
    write_prepared("text", 3)
    for folder in ("pretrain_load/teacher", "pretrain_load/student", "fine_tune", "fine_tune/control"):
        (project / "data" / folder).mkdir(parents=True)
        for name in ("config.json", "model.safetensors", "predictions.parquet", "tokenizer.json"):
            (project / "data" / folder / name).write_text(name)
    for folder in ("pretrain_load/teacher", "pretrain_load/student", "fine_tune"):
        manifest.write(project / "data" / folder)
    return project


@pytest.mark.parametrize("stage", ["prepare", "pretrain_load", "fine_tune", "distill", "evaluate"])
def test_what_earlier_stages_wrote_is_accepted_also_before_they_ran(
    stage: str, outputs: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify_inputs(stage)
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    verify_inputs(stage)


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("pretrain_load", "prepare/train.parquet"),
        ("fine_tune", "prepare/test.parquet"),
        ("fine_tune", "pretrain_load/teacher/tokenizer.json"),
        ("distill", "pretrain_load/student/config.json"),
        ("distill", "fine_tune/predictions.parquet"),
        ("evaluate", "fine_tune/control/model.safetensors"),
    ],
)
def test_a_flipped_byte_stops_a_stage_before_it_trains(stage: str, name: str, outputs: Path) -> None:
    flip_a_byte(outputs / "data" / name)
    done = run_here([stage], outputs)
    assert done.code == 2
    assert f"decant: data/{name} is damaged: its sha256 is " in done.err
    assert "decant doctor --heal" in done.err


def test_every_problem_is_named_at_once(outputs: Path) -> None:
    flip_a_byte(Path("data/prepare/test.parquet"))
    Path("data/pretrain_load/teacher/tokenizer.json").unlink()
    Path("data/fine_tune/manifest.json").unlink()
    with pytest.raises(UserError) as caught:
        verify_inputs("distill")
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "data/prepare/test.parquet",
        "data/pretrain_load/teacher/tokenizer.json",
        "data/fine_tune/manifest.json",
    ]


def test_tables_are_checked_wherever_they_are_read(outputs: Path) -> None:
    assert list(read_prepared().frames) == ["test", "train", "validation"]
    flip_a_byte(Path("data/prepare/validation.parquet"))
    with pytest.raises(UserError, match=r"validation.parquet is damaged: its sha256 is .* expected"):
        read_prepared()


def test_a_stage_keeps_valid_copies_of_what_dvc_writes_in_place(outputs: Path) -> None:
    run_here(["evaluate"], outputs)
    assert (outputs / ".state/valid/params.yaml").read_bytes() == (outputs / "params.yaml").read_bytes()
