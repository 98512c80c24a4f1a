"""Cross-validation: the parts, what the folds say together, and a three-fold run of the later stages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from support.paths import ROOT

from decant import distill, evaluate, fine_tune, prepare, pretrain_load
from decant.config import compose
from decant.config.compose import piece
from decant.core.errors import UserError
from decant.core.files import read_json
from decant.dataset.modality.by_size import modality_of
from decant.dataset.prepared import Prepared, read_prepared
from decant.evaluation import report
from decant.evaluation.members import joint
from decant.models import directory, predictions
from decant.models.predictions import members, stored
from decant.task import Task
from decant.task.classify import Classify
from decant.tracking.runs import Run
from decant.training import ensemble as folds

pytestmark = [  # as a stage does
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*number of training batches.*"),
]
K = 3
SMALL = [
    *("use.data=toy", "use.teacher=tiny", "use.student=tiny", "use.scratch=tiny", "trainer=cpu"),
    *(f"{stage}.{knob}" for stage in ("fine_tune", "distill") for knob in ("batch_size=8", "max_length=16")),
    *("fine_tune.epochs=4", "fine_tune.control_epochs=1", "distill.epochs=1", "distill.control_epochs=1"),
    *("data.unlabelled=some.csv", "evaluate.resamples=20"),
]


class Remembering(Run):
    """A run without a store that notes what was logged, and below which run."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.name, self.log = name, log

    def log_model(self, name: str, folder: Path, examples: list[Any]) -> None:
        assert (folder / "model.safetensors").exists()
        self.log.append(f"{self.name}: {name}")

    @contextmanager
    def child(self, name: str) -> Iterator[Run]:
        yield Remembering(f"{self.name} > {name}", self.log)


class Regression(Classify):
    """Without a softmax, and without classes to stratify by."""

    ensemble = Task.ensemble

    def strata(self, target: "pd.Series[Any]") -> None:
        return None


def table(inputs: list[str], targets: list[int]) -> Prepared:
    ids = [f"train-{i}" for i in range(len(inputs))]
    frame = pd.DataFrame({"row_id": ids, "input": inputs, "target": targets})
    return Prepared({"train": frame}, [str(t) for t in sorted(set(targets))], {"train": "digest"}, modality_of(None))


BALANCED = table([f"message {i}" for i in range(90)], [0] * 60 + [1] * 30)


def test_parts_cover_train_once_and_keep_the_shares_of_classes() -> None:
    found = folds.parts(BALANCED, Classify(), 5, 0)
    target = BALANCED.frames["train"]["target"].to_numpy()
    assert len(found) == 90
    assert [(int((target[found == i] == 0).sum()), int((target[found == i] == 1).sum())) for i in range(1, 6)] == [
        (12, 6)
    ] * 5


def test_parts_depend_on_the_seed_alone() -> None:
    first, again, other = (folds.parts(BALANCED, Classify(), 5, seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_copies_of_an_input_are_in_one_part() -> None:
    inputs = [f"message {i % 30}".upper() if i < 30 else f" message  {i % 30} " for i in range(90)]
    found = folds.parts(table(inputs, [0, 1] * 45), Classify(), 3, 0)
    assert (found.reshape(3, 30) == found[:30]).all()
    assert set(found) == {1, 2, 3}


def test_empty_inputs_are_no_copies_of_each_other() -> None:
    found = folds.parts(table([""] * 9, [0] * 9), Classify(), 3, 0)
    assert sorted(found) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_a_task_without_strata_is_cut_at_random() -> None:
    found = folds.parts(BALANCED, Regression(), 5, 0)
    assert np.bincount(found).tolist() == [0, 18, 18, 18, 18, 18]


@pytest.mark.parametrize(
    ("inputs", "task", "message"),
    [
        (
            ["a", "b", "c", "d", "e", "E"],
            Classify(),
            "folds is 3, but train has only 2 .* of the class of row 'train-3'",
        ),
        (["a", "b", "A", "B", "a", "b"], Regression(), "folds is 3, but train has only 2 different inputs; expected"),
    ],
)
def test_more_folds_than_the_smallest_class_has_inputs_are_refused(inputs: list[str], task: Task, message: str) -> None:
    with pytest.raises(UserError, match=message):
        folds.parts(table(inputs, [0, 0, 0, 1, 1, 1]), task, 3, 0)


def test_a_fold_trains_on_all_rows_but_its_own_in_their_order() -> None:
    assert folds.without(np.array([1, 2, 1, 3]), 1, {"train": list("abcd")}, BALANCED) == ["b", "d"]  # type: ignore


def test_the_ensemble_of_classifiers_is_the_logarithm_of_the_mean_probability() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32) * 5
    found = Classify().ensemble(logits)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.log(softmax(logits.astype(float), axis=2).mean(0)), rtol=1e-5, atol=1e-6)


def test_an_ensemble_of_certain_models_is_finite() -> None:
    logits = np.array([[[1e4, -1e4]], [[1e4, -1e4]]], np.float32)
    assert np.isfinite(Classify().ensemble(logits)).all()


def test_an_ensemble_of_one_gives_its_probabilities() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(np.float32)
    np.testing.assert_allclose(softmax(Classify().ensemble(logits), 1), softmax(logits[0], 1), rtol=1e-5)


def test_the_ensemble_of_other_models_is_the_mean_of_their_outputs() -> None:
    logits = np.array([[[1.0], [2.0]], [[3.0], [6.0]]], np.float32)
    assert Regression().ensemble(logits).tolist() == [[2.0], [4.0]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A workspace after a three-fold fine-tune, and which run got which model."""
    root = tmp_path_factory.mktemp("folds")
    (root / "conf").symlink_to(ROOT / "conf")
    (root / "data").mkdir()
    (root / "data/raw").symlink_to(ROOT / "data/raw")
    shutil.copy(ROOT / "params.yaml", root)
    pd.read_csv(ROOT / "data/raw/support/unlabelled.csv").head(40).to_csv(root / "some.csv", index=False)
    log: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        prepare.main(here(), Run())
        pretrain_load.main(here(), Run())
        fine_tune.main(here(f"fine_tune.folds={K}"), Remembering("stage", log))
    return root, log


def here(*overrides: str) -> Any:
    return compose.load([*SMALL, *overrides])


@pytest.fixture
def workspace(made: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made[0])
    return made[0]


@pytest.fixture
def prepared(workspace: Path) -> Prepared:
    return read_prepared()


def logits(folder: Path, split: str, prepared: Prepared) -> np.ndarray:
    return stored(folder, split, prepared).astype(float)


def fold_of(prepared: Prepared) -> np.ndarray:
    listed = pd.read_parquet(fine_tune.OUT / predictions.FOLDS_FILE)
    assert list(listed["row_id"]) == prepared.ids("train")
    return listed["fold"].to_numpy()


def test_each_fold_is_a_model_directory_and_the_ensemble_is_none(workspace: Path) -> None:
    found = members(fine_tune.OUT)
    assert [f.name for f in found] == ["fold_1", "fold_2", "fold_3"]
    assert all((f / "config.json").exists() and (f / "predictions.parquet").exists() for f in found)
    files = sorted(f.name for f in fine_tune.OUT.iterdir())
    assert files == ["control", "fold_1", "fold_2", "fold_3", "folds.parquet", "predictions.parquet"]


def test_ten_folds_are_listed_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(1, 12):
        (tmp_path / f"fold_{number}").mkdir()
    assert [f.name for f in members(tmp_path)] == [f"fold_{i}" for i in range(1, 12)]


def test_each_fold_logs_its_model_in_a_run_of_its_own(made: tuple[Path, list[str]]) -> None:
    teachers = [f"stage > fine-tune fold {i}: teacher" for i in (1, 2, 3)]
    assert made[1] == [*teachers, "stage > fine-tune control: control"]


def test_each_row_of_train_is_predicted_once_by_the_model_that_did_not_see_it(prepared: Prepared) -> None:
    fold = fold_of(prepared)
    assert set(fold) == {1, 2, 3}
    together = logits(fine_tune.OUT, "train", prepared)
    each = [logits(member, "train", prepared) for member in members(fine_tune.OUT)]
    for row, part in enumerate(fold):
        others = [softmax(e[row]) for i, e in enumerate(each, 1) if i != part]
        np.testing.assert_allclose(softmax(together[row]), softmax(each[part - 1][row]), rtol=1e-4)
        assert not any(np.allclose(softmax(together[row]), other, rtol=1e-4) for other in others)


def test_a_fold_is_what_training_without_its_part_gives(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = set(np.array(prepared.ids("train"))[fold_of(prepared) != 2])
    frame = prepared.frames["train"]
    cut = prepared.frames | {"train": frame[frame["row_id"].isin(kept)].reset_index(drop=True)}
    monkeypatch.setattr(
        "decant.training.train.read_prepared",
        lambda: Prepared(cut, prepared.labels, prepared.digests, prepared.modality),
    )
    cfg, start = here(), Path("data/pretrain_load/teacher")
    fine_tune.train(cfg, compose.settings(cfg, "fine_tune"), start, tmp_path, Run(), fine_tune.FineTuner)
    assert (tmp_path / "model.safetensors").read_bytes() == Path("data/fine_tune/fold_2/model.safetensors").read_bytes()


@pytest.mark.parametrize("split", ["validation", "test", "unlabelled"])
def test_other_splits_get_the_mean_probability_of_all_folds(prepared: Prepared, split: str) -> None:
    each = [softmax(logits(member, split, prepared), axis=1) for member in members(fine_tune.OUT)]
    assert not np.allclose(each[0], each[1])
    np.testing.assert_allclose(softmax(logits(fine_tune.OUT, split, prepared), axis=1), np.mean(each, 0), rtol=1e-4)


def accuracy(found: np.ndarray, target: np.ndarray) -> float:
    return float((found.argmax(1) == target).mean())


def test_the_later_stages_run_on_the_folds_and_report_their_mean_and_spread(
    prepared: Prepared, capsys: pytest.CaptureFixture[str]
) -> None:
    distill.main(here(), Run())
    evaluate.main(here(), Run())
    teacher = read_json(Path("data/evaluate/metrics.json"))["teacher"]
    target = {s: prepared.frames[s]["target"].to_numpy() for s in ("train", "test")}
    each = [accuracy(logits(m, "test", prepared), target["test"]) for m in members(fine_tune.OUT)]
    unseen, fold = logits(fine_tune.OUT, "train", prepared), fold_of(prepared)
    held = [accuracy(unseen[fold == i], target["train"][fold == i]) for i in (1, 2, 3)]
    assert teacher["members"] == {
        "mean": pytest.approx(sum(each) / K),
        "std": pytest.approx(pd.Series(each).std()),
        "scores": pytest.approx(each),
        "out_of_fold": pytest.approx(accuracy(unseen, target["train"])),
        "held_out": {
            "mean": pytest.approx(sum(held) / K),
            "std": pytest.approx(pd.Series(held).std()),
            "scores": pytest.approx(held),
        },
    }
    assert teacher["accuracy"] == pytest.approx(accuracy(logits(fine_tune.OUT, "test", prepared), target["test"]))
    one, _ = directory.load(fine_tune.OUT / "fold_1", prepared.modality)
    assert teacher["parameters"] == K * one.num_parameters()
    assert teacher["size_mb"] > 2.9 * (fine_tune.OUT / "fold_1/model.safetensors").stat().st_size / 1e6
    metrics, timings = report.read()
    assert report.mlflow_metrics(metrics, timings)["teacher/members/out_of_fold"] == teacher["members"]["out_of_fold"]
    line = f"3 models: each alone {100 * np.mean(each):.1f} ± {100 * np.std(each, ddof=1):.1f} on test"
    assert line in capsys.readouterr().out
    assert line in Path("data/evaluate/report.md").read_text()


def test_the_ensemble_answers_with_what_its_predictions_say(prepared: Prepared) -> None:
    loaded = [directory.load(folder, prepared.modality) for folder in members(fine_tune.OUT)]
    answer = joint([encoder.predict_fn(network) for network, encoder in loaded], piece(here(), "task"))
    found = answer(prepared.modality.raw(prepared.frames["test"])).numpy()
    np.testing.assert_allclose(found, logits(fine_tune.OUT, "test", prepared), atol=1e-4)


@pytest.mark.usefixtures("workspace")
def test_a_batch_that_a_fold_cannot_fill_is_refused_and_earlier_output_stays() -> None:
    before = (fine_tune.OUT / "predictions.parquet").read_bytes()
    with pytest.raises(UserError, match=r"batch_size is 100, but a fold trains on only 52 of the 104 rows"):
        fine_tune.main(here("fine_tune.folds=2", "fine_tune.batch_size=100"), Run())
    assert (fine_tune.OUT / "predictions.parquet").read_bytes() == before


def test_teachers_of_several_seeds_teach_with_their_mean_probability(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("conf", "params.yaml", "some.csv"):
        (tmp_path / part).symlink_to(workspace / part)
    (tmp_path / "data").mkdir()
    for part in ("prepare", "pretrain_load"):
        (tmp_path / "data" / part).symlink_to(workspace / "data" / part)
    monkeypatch.chdir(tmp_path)
    log: list[str] = []
    words = ["fine_tune.seeds=2", "fine_tune.half_logits=true"]
    fine_tune.main(here(*words), Remembering("stage", log))
    assert log[:2] == [f"stage > fine-tune seed {i}: teacher" for i in (1, 2)]
    assert [f.name for f in members(fine_tune.OUT)] == ["seed_1", "seed_2"]
    prepared = read_prepared()
    for split, tolerance in (("train", 2e-3), ("unlabelled", 2e-3), ("test", 1e-5)):
        each = [softmax(logits(member, split, prepared), axis=1) for member in members(fine_tune.OUT)]
        assert not np.allclose(each[0], each[1])
        together = softmax(logits(fine_tune.OUT, split, prepared), axis=1)
        np.testing.assert_allclose(together, np.mean(each, 0), rtol=tolerance)
    distill.main(here(*words), Run())
    evaluate.main(here(*words), Run())
    found = read_json(Path("data/evaluate/metrics.json"))["teacher"]["members"]
    assert set(found) == {"mean", "std", "scores"}
    assert "teacher, 2 models: each alone" in capsys.readouterr().out
