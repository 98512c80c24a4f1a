"""An ensemble of teachers: one for each of three folds, or for each of two seeds; and the stages after it."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from support.experiments import experiment_of
from support.paths import ROOT

from decant import distill, evaluate, fine_tune, prepare, pretrain_load
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.dataset.prepared import Prepared, read_prepared
from decant.distillation.export.formats import Exporter
from decant.evaluation import latency, report
from decant.evaluation.members import joint
from decant.experiment.experiment import Experiment
from decant.fine_tune import smoothing_warning
from decant.models import directory, predictions
from decant.models.predictions import ensemble_members, read_split
from decant.tracking.runs import Run
from decant.training.train import train

FOLDS = 3
SMALL = [
    *("use.data=toy", "use.teacher=tiny", "use.student=tiny", "use.scratch=tiny", "trainer=cpu", "trainer.threads=1"),
    *(f"{stage}.{key}" for stage in ("fine_tune", "distill") for key in ("batch_size=8", "max_length=16")),
    *("fine_tune.epochs=3", "fine_tune.control_epochs=1", "distill.epochs=1", "distill.control_epochs=1"),
    *("data.unlabelled=some.csv", "evaluate.resamples=20"),
]


class RecordedRun(Run):
    """Records which run, under which parent, got which model."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.name, self.log = name, log

    def log_model(self, name: str, folder: Path, examples: Any) -> None:
        assert (folder / "model.safetensors").exists()
        self.log.append(f"{self.name}: {name}")

    @contextmanager
    def child(self, name: str) -> Iterator[Run]:
        yield RecordedRun(f"{self.name} > {name}", self.log)


def small(*overrides: str) -> Experiment:
    return experiment_of(*SMALL, *overrides)


@pytest.fixture(scope="module")
def three_folds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A workspace after a three-fold fine-tune, and which run got which model."""
    root = tmp_path_factory.mktemp("folds")
    (root / "data").mkdir()
    (root / "data/raw").symlink_to(ROOT / "data/raw")
    pd.read_csv(ROOT / "data/raw/support/unlabelled.csv").head(40).to_csv(root / "some.csv", index=False)
    log: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        prepare.main(small(), Run())
        pretrain_load.main(small(), Run())
        fine_tune.main(small(f"fine_tune.folds={FOLDS}"), RecordedRun("stage", log))
    return root, log


@pytest.fixture
def workspace(three_folds: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(three_folds[0])
    monkeypatch.setattr(latency, "SINGLES", latency.BLOCK)
    monkeypatch.setattr(latency, "ROUNDS", 1)
    return three_folds[0]


@pytest.fixture
def prepared(workspace: Path) -> Prepared:
    return read_prepared()


def logits(folder: Path, split: str, prepared: Prepared) -> np.ndarray:
    return read_split(folder, split, prepared).astype(float)


def probabilities(folder: Path, split: str, prepared: Prepared) -> np.ndarray:
    return softmax(logits(folder, split, prepared), axis=1)


def members_probabilities(split: str, prepared: Prepared) -> list[np.ndarray]:
    return [probabilities(member, split, prepared) for member in ensemble_members(fine_tune.OUT)]


def fold_of_row(prepared: Prepared) -> np.ndarray:
    table = pd.read_parquet(fine_tune.OUT / predictions.FOLDS_FILE)
    assert list(table["row_id"]) == prepared.ids("train")
    return table["fold"].to_numpy()


def accuracy(values: np.ndarray, target: np.ndarray) -> float:
    return float((values.argmax(1) == target).mean())


@pytest.mark.slow
@pytest.mark.usefixtures("workspace")
def test_each_fold_is_a_model_directory_and_the_ensemble_is_none() -> None:
    members = ensemble_members(fine_tune.OUT)
    assert [f.name for f in members] == ["fold_1", "fold_2", "fold_3"]
    assert all((f / "config.json").exists() and (f / "predictions.parquet").exists() for f in members)
    files = sorted(f.name for f in fine_tune.OUT.iterdir())
    assert files == ["control", "fold_1", "fold_2", "fold_3", "folds.parquet", "manifest.json", "predictions.parquet"]


def test_ten_folds_are_listed_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(1, 12):
        (tmp_path / f"fold_{number}").mkdir()
    assert [f.name for f in ensemble_members(tmp_path)] == [f"fold_{i}" for i in range(1, 12)]


@pytest.mark.slow
def test_each_fold_logs_its_model_in_a_run_of_its_own(three_folds: tuple[Path, list[str]]) -> None:
    teachers = [f"stage > fine-tune fold {i}: teacher" for i in (1, 2, 3)]
    assert three_folds[1] == [*teachers, "stage > fine-tune control: control"]


@pytest.mark.slow
def test_each_row_of_train_is_predicted_once_by_the_model_that_did_not_see_it(prepared: Prepared) -> None:
    fold = fold_of_row(prepared)
    assert set(fold) == {1, 2, 3}
    combined, members = probabilities(fine_tune.OUT, "train", prepared), members_probabilities("train", prepared)
    for row, number in enumerate(fold):
        saw_the_row = [member[row] for i, member in enumerate(members, 1) if i != number]
        np.testing.assert_allclose(combined[row], members[number - 1][row], rtol=1e-4)
        assert not any(np.allclose(combined[row], values, rtol=1e-4) for values in saw_the_row)


@pytest.mark.slow
def test_the_member_of_a_fold_is_what_training_without_that_fold_gives(prepared: Prepared, tmp_path: Path) -> None:
    ids = set(np.array(prepared.ids("train"))[fold_of_row(prepared) != 2])
    train_rows = prepared.frames["train"]
    train_rows = train_rows[train_rows["row_id"].isin(ids)].reset_index(drop=True)
    job = fine_tune.teacher_job(small(), Run())
    without_fold = dataclasses.replace(prepared, frames=prepared.frames | {"train": train_rows})
    train(dataclasses.replace(job, prepared=without_fold), tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == Path("data/fine_tune/fold_2/model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("split", ["validation", "test", "unlabelled"])
def test_other_splits_get_the_mean_probability_of_all_folds(prepared: Prepared, split: str) -> None:
    members = members_probabilities(split, prepared)
    assert not np.allclose(members[0], members[1])
    np.testing.assert_allclose(probabilities(fine_tune.OUT, split, prepared), np.mean(members, 0), rtol=1e-4)


@pytest.mark.slow
def test_the_later_stages_run_on_the_folds_and_report_their_mean_and_spread(
    prepared: Prepared, capsys: pytest.CaptureFixture[str]
) -> None:
    distill.main(small(), Run())
    evaluate.main(small(), Run())
    teacher = read_json(Path("data/evaluate/metrics.json"))["teacher"]
    target = {s: prepared.frames[s]["target"].to_numpy() for s in ("train", "test")}
    on_test = [accuracy(logits(m, "test", prepared), target["test"]) for m in ensemble_members(fine_tune.OUT)]
    out_of_fold, fold = logits(fine_tune.OUT, "train", prepared), fold_of_row(prepared)
    held_out = [accuracy(out_of_fold[fold == i], target["train"][fold == i]) for i in (1, 2, 3)]
    assert teacher["members"] == {
        "mean": pytest.approx(sum(on_test) / FOLDS),
        "std": pytest.approx(pd.Series(on_test).std()),
        "scores": pytest.approx(on_test),
        "out_of_fold": pytest.approx(accuracy(out_of_fold, target["train"])),
        "held_out": {
            "mean": pytest.approx(sum(held_out) / FOLDS),
            "std": pytest.approx(pd.Series(held_out).std()),
            "scores": pytest.approx(held_out),
        },
    }
    assert teacher["accuracy"] == pytest.approx(accuracy(logits(fine_tune.OUT, "test", prepared), target["test"]))
    first, _ = directory.load(fine_tune.OUT / "fold_1", prepared.modality)
    assert teacher["parameters"] == FOLDS * first.num_parameters()
    assert teacher["size_mb"] > 2.9 * (fine_tune.OUT / "fold_1/model.safetensors").stat().st_size / 1e6
    logged = report.mlflow_metrics(*report.read())
    assert logged["teacher/members/out_of_fold"] == teacher["members"]["out_of_fold"]
    line = f"3 models: each alone {100 * np.mean(on_test):.1f} ± {100 * np.std(on_test, ddof=1):.1f} on test"
    assert line in capsys.readouterr().out
    assert line in Path("data/evaluate/report.md").read_text()


@pytest.mark.slow
def test_the_ensemble_answers_with_its_stored_predictions(prepared: Prepared) -> None:
    members = [directory.load(folder, prepared.modality) for folder in ensemble_members(fine_tune.OUT)]
    predict = joint([encoder.predict_fn(network) for network, encoder in members], small().task.objective)
    answers = predict(prepared.modality.raw(prepared.frames["test"])).numpy()
    np.testing.assert_allclose(answers, logits(fine_tune.OUT, "test", prepared), atol=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("workspace")
def test_a_batch_that_a_fold_cannot_fill_is_refused_and_earlier_output_stays() -> None:
    before = (fine_tune.OUT / "predictions.parquet").read_bytes()
    with pytest.raises(UserError, match=r"batch_size is 100, but a fold trains on only 52 of the 104 rows"):
        fine_tune.main(small("fine_tune.folds=2", "fine_tune.batch_size=100"), Run())
    assert (fine_tune.OUT / "predictions.parquet").read_bytes() == before


@pytest.mark.slow
def test_teachers_of_several_seeds_teach_with_their_mean_probability(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    for stage in ("prepare", "pretrain_load"):
        (tmp_path / "data" / stage).symlink_to(workspace / "data" / stage)
    monkeypatch.chdir(tmp_path)
    log: list[str] = []
    overrides = ["fine_tune.seeds=2", "fine_tune.logits_dtype=float16"]
    fine_tune.main(small(*overrides), RecordedRun("stage", log))
    assert log[:2] == [f"stage > fine-tune seed {i}: teacher" for i in (1, 2)]
    assert [f.name for f in ensemble_members(fine_tune.OUT)] == ["seed_1", "seed_2"]
    prepared = read_prepared()
    for split, tolerance in (("train", 2e-3), ("unlabelled", 2e-3), ("test", 1e-5)):
        members = members_probabilities(split, prepared)
        assert not np.allclose(members[0], members[1])
        np.testing.assert_allclose(probabilities(fine_tune.OUT, split, prepared), np.mean(members, 0), rtol=tolerance)
    monkeypatch.setattr(Exporter, "export", lambda *_: None)  # the three folds export
    distill.main(small(*overrides), Run())
    evaluate.main(small(*overrides), Run())
    assert set(read_json(Path("data/evaluate/metrics.json"))["teacher"]["members"]) == {"mean", "std", "scores"}
    assert "teacher, 2 models: each alone" in capsys.readouterr().out


def test_a_smoothed_teacher_is_warned_of_where_a_student_learns_from_it() -> None:
    assert "fine_tune.label_smoothing is 0.1: a teacher so trained distils worse" in smoothing_warning(0.1, ("logits",))
    assert not smoothing_warning(0.0, ("logits",))
    assert not smoothing_warning(0.1, ())
