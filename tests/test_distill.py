"""The distill stage on three real intents: losses learn, the teacher stays as it is, students start as they say."""

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from support.experiments import experiment_of
from support.paths import ROOT
from support.tiny_project import RecordedRun

from decant import distill, fine_tune, prepare, pretrain_load
from decant.core import manifest
from decant.core.errors import UserError
from decant.core.files import read_json, write_json
from decant.core.hashing import digest, sha256
from decant.dataset.prepared import Prepared, read_prepared
from decant.distillation import student_init
from decant.distillation.export import formats
from decant.distillation.student_training import TEACHER, StudentTraining, checked_teacher
from decant.experiment.experiment import Experiment
from decant.models import directory, predictions
from decant.models.directory import Head
from decant.serving.predictor import OnnxPredictor
from decant.task.classify import Classify, ClassifyObjective
from decant.tracking.runs import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("one_thread"),
]
LOSSES = sorted(f.stem for f in (ROOT / "conf/loss").glob("*.yaml"))
SMALL = [
    *("use.data=toy", "use.student=minilm_2", "use.scratch=tiny", "trainer=cpu", "data.unlabelled=some.csv"),
    *(f"{stage}.{knob}" for stage in ("fine_tune", "distill") for knob in ("batch_size=8", "max_length=32")),
    *("fine_tune.epochs=3", "fine_tune.control_epochs=1", "distill.epochs=3", "distill.control_epochs=1"),
    *("distill.vocabulary=used", "distill.dropout=0.0", "export.max_metric_drop=1.0"),
]


def small(*overrides: str) -> Experiment:
    return experiment_of(*SMALL, *overrides)


def small_training(*overrides: str, run: Run | None = None) -> StudentTraining:
    return distill.student_training(small(*overrides), run or Run())


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The toy data with a few unlabelled rows and a teacher, as the stages before distill leave them."""
    folder = tmp_path_factory.mktemp("distill")
    (folder / "conf").symlink_to(ROOT / "conf")
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (folder / "data").mkdir()
    (folder / "data/raw").symlink_to(ROOT / "data/raw")
    texts = pd.read_csv(ROOT / "data/raw/support/unlabelled.csv").head(24)
    texts.to_csv(folder / "some.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        for stage in (prepare, pretrain_load, fine_tune):
            stage.main(small(), Run())
        torch.set_num_threads(before)
        yield folder


@pytest.fixture
def workspace(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(outputs)
    return outputs


def train_student(folder: Path, *overrides: str, run: Run | None = None) -> float:
    """Accuracy on test of a student that is trained with overrides, into `folder`."""
    small_training(*overrides, run=run).train(folder)
    return accuracy(folder)


def accuracy(folder: Path) -> float:
    prepared = read_prepared()
    target = prepared.frames["test"]["target"].to_numpy()
    return Classify().scoring.score(predictions.read_split(folder, "test", prepared), target)


@pytest.fixture(scope="module")
def untrained(outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """The accuracy of the student before training, which no loss changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(outputs)
        return train_student(tmp_path_factory.mktemp("untrained"), "distill.epochs=1", "distill.lr=1e-12")


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_lifts_its_student_over_the_same_student_untrained(
    loss: str, workspace: Path, untrained: float, tmp_path: Path
) -> None:
    before = digest(TEACHER)
    run = RecordedRun()
    with_loss = train_student(tmp_path / "a", f"use.loss={loss}", run=run)
    assert with_loss > untrained + 0.2, (with_loss, untrained)
    assert digest(TEACHER) == before
    terms = small(f"use.loss={loss}").loss.weights(0.0)
    for term in terms:
        assert len(run.history(f"train/{term}")) == len(run.history(f"train/{term}_weighted")) == 3
        assert len(terms) == 1 or len(run.history(f"train/{term}_gradient")) == 3


def test_a_teacher_that_sees_the_same_augmented_input_teaches(workspace: Path, tmp_path: Path) -> None:
    words = ["use.augment=words", "distill.online_teacher=true"]
    assert train_student(tmp_path, *words) > 0.6


def test_a_student_with_another_tokenizer_learns_from_states(workspace: Path, tmp_path: Path) -> None:
    """Its tokens are words; the teacher beside it reads the same rows in its own tokens."""
    start = Path("data/pretrain_load/student")
    kept = {f.name: f.read_bytes() for f in start.iterdir()}
    try:
        write_word_tokenizer(start)
        words = ["use.loss=relation", "distill.vocabulary=all"]
        run = RecordedRun()
        train_student(tmp_path / "a", *words, run=run)
        for term in ("distance", "angle"):
            assert run.history(f"train/{term}")[-1] < 0.6 * run.history(f"train/{term}")[0]
        with pytest.raises(UserError, match="loss attention compares tokens one by one"):
            train_student(tmp_path / "b", "use.loss=attention", "distill.vocabulary=all")
        with pytest.raises(UserError, match="the augmentation changes the student's tokens"):
            train_student(tmp_path / "c", *words, "use.augment=words")
    finally:
        for name, content in kept.items():
            (start / name).write_bytes(content)


def write_word_tokenizer(folder: Path) -> None:
    """Give a model directory a tokenizer whose tokens are whole words that no other tokenizer has."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    texts = read_prepared().frames["train"]["input"]
    vocabulary = {w: i for i, w in enumerate(["<pad>", "<unk>", *sorted({w for t in texts for w in t.split()})])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)


def test_a_student_without_states_is_refused_by_losses_that_compare_them(workspace: Path, tmp_path: Path) -> None:
    start = Path("data/pretrain_load/student")
    kept = {f.name: f.read_bytes() for f in start.iterdir()}
    try:
        for file in start.iterdir():
            file.unlink()
        pretrain_load.write_backbone(small("use.student=cnn").student, start)
        with pytest.raises(UserError, match="CNNForSequenceClassification gives no hidden, which the loss compares"):
            train_student(tmp_path, "use.loss=hint")
    finally:
        for file in start.iterdir():
            file.unlink()
        for name, content in kept.items():
            (start / name).write_bytes(content)


def test_a_student_cut_from_its_teacher_has_its_layers_and_head(workspace: Path, tmp_path: Path) -> None:
    prepared = read_prepared()
    cut = student_init.teacher_layers(TEACHER, Path("data/pretrain_load/student"), prepared, tmp_path / "cut")
    student, _ = directory.load(cut, prepared.modality)
    teacher, _ = directory.load(TEACHER, prepared.modality)
    assert torch.equal(student.classifier.weight, teacher.classifier.weight)
    layers = teacher.bert.encoder.layer
    for mine, whole in zip(student.bert.encoder.layer, (layers[0], layers[5], layers[6]), strict=True):
        assert torch.equal(mine.attention.self.query.weight, whole.attention.self.query.weight)
        rows = {tuple(row) for row in whole.intermediate.dense.weight.tolist()}
        assert len(mine.intermediate.dense.weight) == 448
        assert all(tuple(row) in rows for row in mine.intermediate.dense.weight.tolist())


def test_what_a_teacher_alone_changes_does_not_reach_its_student(workspace: Path, tmp_path: Path) -> None:
    """With weights of its own it is another student than the one cut from its teacher, else."""
    start = Path(shutil.copytree("data/pretrain_load", tmp_path / "pretrain_load")) / "student"
    manifest.write(start.parent / "teacher", config={"layer_norm_eps": 0.5})
    teacher = Path(shutil.copytree(TEACHER, tmp_path / "fine_tune"))
    write_json(teacher / "config.json", read_json(teacher / "config.json") | {"layer_norm_eps": 0.5})
    manifest.write(teacher)
    student_init.teacher_layers(teacher, start, read_prepared(), tmp_path / "cut")
    found, own = (read_json(folder / "config.json") for folder in (tmp_path / "cut", start))
    assert found["layer_norm_eps"] == own["layer_norm_eps"] != 0.5


@pytest.mark.parametrize("vocabulary", ["used", "all"])
def test_dropout_is_that_of_the_recipe_or_of_the_yaml(vocabulary: str, workspace: Path, tmp_path: Path) -> None:
    weights, prepared = Path("data/pretrain_load/student"), read_prepared()
    before = digest(weights)
    for dropout, expected in ((None, 0.1), (0.0, 0.0), (0.3, 0.3)):
        hparams = small(f"distill.vocabulary={vocabulary}").distill.model_copy(update={"dropout": dropout})
        initial = student_init.initial_student(hparams, weights, TEACHER, prepared, tmp_path / str(dropout))
        network = Classify().objective.build_network(initial, prepared.labels, prepared.modality.auto_model(), Head())
        assert {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)} == {expected}
        assert network.config.attention_probs_dropout_prob == expected
    assert digest(weights) == before


def test_a_student_cut_from_its_teacher_drops_what_the_recipe_says(workspace: Path, tmp_path: Path) -> None:
    prepared, weights = read_prepared(), Path("data/pretrain_load/student")
    cut = student_init.teacher_layers(TEACHER, weights, prepared, tmp_path / "cut")
    hparams = small("distill.init_from=teacher").distill
    initial = student_init.initial_student(hparams, weights, TEACHER, prepared, tmp_path / "scratch")
    for folder, expected in ((TEACHER, 0.1), (cut, 0.1), (initial, 0.0)):
        network, _ = directory.load(folder, prepared.modality)
        assert {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)} == {expected}


def test_the_control_keeps_its_own_dropout(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings: list[tuple[str, float | None]] = []

    def record(training: StudentTraining, folder: Path, splits: Any = ()) -> None:
        trainings.append((type(training.loss).__name__, training.hparams.dropout))

    monkeypatch.setattr(StudentTraining, "train", record)
    monkeypatch.setattr(formats.Exporter, "export", lambda *_: None)
    monkeypatch.setattr(distill, "OUT", tmp_path / "distill")
    distill.main(small("distill.dropout=0.2"), Run())
    distill.main(small("distill.dropout=0.2", "use.loss=none"), Run())
    assert trainings == [("KD", 0.2), ("NoDistillation", None), ("NoDistillation", None)]


def test_a_student_of_several_teachers_is_cut_from_the_first(workspace: Path, tmp_path: Path) -> None:
    prepared, start = read_prepared(), Path("data/pretrain_load/student")
    for name in ("seed_10", "seed_2"):
        shutil.copytree(TEACHER, tmp_path / "teachers" / name, ignore=shutil.ignore_patterns("control"))
    (tmp_path / "teachers/seed_10/model.safetensors").write_bytes(b"the tenth, not the first")
    one = student_init.teacher_layers(TEACHER, start, prepared, tmp_path / "one")
    first = student_init.teacher_layers(tmp_path / "teachers", start, prepared, tmp_path / "first")
    assert (first / "model.safetensors").read_bytes() == (one / "model.safetensors").read_bytes()


def write_teacher_predictions(folder: Path, prepared: Prepared, shift: float) -> Path:
    """Predictions of another teacher, in a folder of their own."""
    folder.mkdir(parents=True)
    logits = {
        s: (prepared.ids(s), predictions.read_split(TEACHER, s, prepared)[:, ::-1] + shift) for s in prepared.frames
    }
    predictions.write(folder, logits, prepared.digests)
    return folder


def test_soft_targets_of_several_teachers_are_their_mean_probability(workspace: Path, tmp_path: Path) -> None:
    prepared = read_prepared()
    other = write_teacher_predictions(tmp_path / "other", prepared, 1.0)
    training = small_training()
    teachers = {str(other): sha256(other / predictions.FILE)}
    training = dataclasses.replace(training, hparams=training.hparams.model_copy(update={"teachers": teachers}))
    rows = prepared.modality.encoder(TEACHER, 32).rows(prepared.frames)
    chosen = training.rows_with_soft_targets(rows, prepared)
    own = torch.from_numpy(predictions.read_split(TEACHER, "train", prepared)).softmax(1).numpy()
    wanted = (own + own[:, ::-1]) / 2
    found = torch.from_numpy(np.stack([r.soft for r in chosen[: len(own)]])).softmax(1).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert len(chosen) == len(own) + 24


def test_predictions_of_another_teacher_than_params_yaml_names_are_refused(workspace: Path, tmp_path: Path) -> None:
    prepared = read_prepared()
    other = write_teacher_predictions(tmp_path / "other", prepared, 1.0)
    actual, expected = sha256(other / predictions.FILE), "0" * 64
    with pytest.raises(UserError, match=f"{actual}, expected {expected}"):
        checked_teacher(str(other), expected)


def test_predictions_of_a_teacher_that_was_trained_again_are_refused(workspace: Path, tmp_path: Path) -> None:
    weights = TEACHER / "model.safetensors"
    kept = weights.read_bytes()
    try:
        weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(UserError, match="was made by another model than"):
            train_student(tmp_path)
    finally:
        weights.write_bytes(kept)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_pruned_student_has_that_share_of_zeros_and_is_scored_beside_the_whole_one(
    ema: float, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export.prune=0.5", "export.prune_epochs=1", f"distill.ema={ema}"]
    train_student(tmp_path, *words)
    before = accuracy(tmp_path)
    run = RecordedRun()
    small_training(*words, run=run).prune(tmp_path, small(*words).export)
    network, _ = directory.load(tmp_path, read_prepared().modality)
    layers = [m.weight for m in network.modules() if isinstance(m, torch.nn.Linear)]
    zeros = sum(int((w == 0).sum()) for w in layers) / sum(w.numel() for w in layers)
    assert zeros == pytest.approx(0.5, abs=1e-4)
    assert run.history("pruned/metric_drop") == [pytest.approx(before - accuracy(tmp_path))]
    assert "pruned: test_accuracy" in capsys.readouterr().out


def test_onnx_files_predict_what_the_network_predicts_and_are_scored(workspace: Path, tmp_path: Path) -> None:
    train_student(tmp_path)
    run, experiment = RecordedRun(), small()
    formats.Exporter(
        prepared=read_prepared(),
        scoring=experiment.task.scoring,
        settings=experiment.export,
        threads=1,
        run=run,
    ).export(tmp_path)
    stored = {
        f: predictions.read_split(f, "test", read_prepared()) for f in (tmp_path, tmp_path / "onnx", tmp_path / "int8")
    }
    inputs = read_prepared().modality.raw(read_prepared().frames["test"])
    one_by_one = np.concatenate([OnnxPredictor(tmp_path, "int8", 1)([text]) for text in inputs[:8]])
    assert np.array_equal(stored[tmp_path / "int8"][:8], one_by_one)  # company changes no answer
    np.testing.assert_allclose(stored[tmp_path / "onnx"], stored[tmp_path], atol=1e-4)
    assert run.history("student_int8/test_accuracy") == [accuracy(tmp_path / "int8")]
    difference = np.abs(stored[tmp_path / "int8"] - stored[tmp_path]).max()
    assert run.history("student_int8/largest_difference") == [pytest.approx(float(difference))]
    sizes = [(tmp_path / v / "model.onnx").stat().st_size for v in ("onnx", "int8")]
    assert sizes[1] < 0.3 * sizes[0]
    served = OnnxPredictor(tmp_path, "onnx")(read_prepared().modality.raw(read_prepared().frames["test"]))
    np.testing.assert_allclose(served, stored[tmp_path], atol=1e-4)


def test_an_exported_file_that_loses_too_much_is_refused() -> None:
    metrics = {"onnx": {"test_accuracy": 0.9, "metric_drop": 0.0, "largest_difference": 0.0},
             "int8": {"test_accuracy": 0.8, "metric_drop": 0.1, "largest_difference": 3.5}}  # fmt: skip
    formats.check_metric_drop(metrics, "accuracy", 0.1)
    with pytest.raises(
        UserError, match=r"int8 loses 10.00 points of accuracy on test \(80.00 left, .* 3.5\), more"
    ) as e:
        formats.check_metric_drop(metrics, "accuracy", 0.02)
    assert len(e.value.problems) == 1
    with pytest.raises(UserError, match="loses nan points"):
        formats.check_metric_drop({"int8": {**metrics["int8"], "metric_drop": float("nan")}}, "accuracy", 0.02)


def test_the_bias_of_a_trained_head_is_not_initialised_again(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialised = []
    monkeypatch.setattr(ClassifyObjective, "init_head_bias", lambda self, network, *_: initialised.append(network))
    train_student(tmp_path / "a", "distill.epochs=1")
    assert len(initialised) == 1
    train_student(tmp_path / "b", "distill.epochs=1", "distill.init_from=teacher")
    assert len(initialised) == 1
