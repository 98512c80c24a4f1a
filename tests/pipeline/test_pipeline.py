"""End to end, as a user runs it: a small experiment in a clone of its own; all tests share its run."""

import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from mlflow.entities import Run
from support.clones import (
    STAGES,
    commit,
    copy_clone,
    edit_yaml,
    environment,
    load_logged_models,
    mlflow_client,
    mlflow_runs,
    repro,
    run_in,
    stages_to_run,
)
from support.commands import Done, run_fork

from decant.core.hashing import digest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of libraries of DVC
]
LABELS = ("invoice", "login_problem", "subscription_change")


def decant(clone: Path, logs: Path, *arguments: str) -> Done:
    """`decant <arguments>` in a clone."""
    return run_fork(["cli", *arguments], clone, environment(clone), logs)


def children(clone: Path, run_id: str) -> list:
    return [run for run in mlflow_runs(clone) if run.data.tags.get("mlflow.parentRunId") == run_id]


def invocation(clone: Path) -> Run:
    """The run of the first invocation."""
    return next(run for run in mlflow_runs(clone) if "mlflow.parentRunId" not in run.data.tags)


# --- what a run of the pipeline leaves


def test_only_outputs_and_records_are_new_in_the_folder(clone: Path) -> None:
    assert run_in(clone, "git", "status", "--short").stdout == "?? dvc.lock\n?? provenance.json\n"
    assert run_in(clone, "git", "symbolic-ref", "HEAD").returncode == 0
    assert len(run_in(clone, "git", "worktree", "list").stdout.splitlines()) == 1


def test_all_files_are_where_the_design_says(clone: Path) -> None:
    found = {str(f.relative_to(clone / "data")) for f in (clone / "data").rglob("*") if f.is_file()}
    model = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    trained = model | {"predictions.parquet", "manifest.json"}
    initial = {"config.json", "tokenizer.json", "tokenizer_config.json", "manifest.json"}
    expected = {f"prepare/{s}.parquet" for s in ("train", "validation", "test", "unlabelled")}
    expected |= {"prepare/card.json", "prepare/source/card.json"}
    expected |= {f"pretrain_load/{r}/{f}" for r in ("teacher", "student", "scratch") for f in initial}
    expected |= {f"{s}/{c}{f}" for s in ("fine_tune", "distill") for c in ("", "control/") for f in trained}
    expected |= {
        f"distill/{v}/{f}" for v in ("onnx", "int8") for f in ("model.onnx", "predictions.parquet", "manifest.json")
    }
    expected |= {f"evaluate/{f}" for f in ("metrics.json", "latency.json", "latency.png", "report.md", "rows.parquet")}
    pictures = ("primary_metric.png", "size.png", "confusion.csv", "answers.png", "per_class.csv")
    expected |= {f"evaluate/plots/{f}" for f in pictures}
    assert {f for f in found if not f.startswith("raw/")} == expected


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("fine_tune", ("train", "validation", "test", "unlabelled")),
        ("fine_tune/control", ("test",)),
        ("distill", ("validation", "test")),
        ("distill/control", ("test",)),
        ("distill/onnx", ("test",)),
        ("distill/int8", ("test",)),
    ],
)
def test_predictions_hold_every_row_of_their_splits_once(clone: Path, name: str, splits: tuple[str, ...]) -> None:
    found = pd.read_parquet(clone / "data" / name / "predictions.parquet")
    expected = [(s, i) for s in splits for i in pd.read_parquet(clone / f"data/prepare/{s}.parquet")["row_id"]]
    assert sorted(zip(found["split"], found["row_id"], strict=True)) == sorted(expected)


def test_plain_transformers_loads_the_student(clone: Path) -> None:
    script = (
        "import sys\nsys.modules['decant'] = None\n"  # decant cannot be imported
        "from transformers import pipeline\n"
        "print(pipeline('text-classification', 'data/distill')('pause my coffee')[0]['label'])\n"
    )
    done = run_in(clone, sys.executable, "-c", script, PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in LABELS


def test_nothing_has_to_run_again(clone: Path) -> None:
    assert stages_to_run(clone) == []


# --- what MLflow shows of it


def test_the_run_of_an_invocation_has_a_nested_run_for_each_stage(clone: Path) -> None:
    parent = invocation(clone)
    stages = children(clone, parent.info.run_id)
    assert [run.info.run_name for run in stages] == STAGES
    controls = [run for stage in stages for run in children(clone, stage.info.run_id)]
    assert [run.info.run_name for run in controls] == ["fine-tune control", "distill control"]
    assert {run.info.status for run in [parent, *stages, *controls]} == {"FINISHED"}
    metrics = parent.data.metrics
    for role in ("linear", "scratch", "teacher", "student_alone", "student", "student_onnx", "student_int8"):
        for name in ("accuracy", "macro_f1", "calibration_error", "latency_ms_p50", "throughput", "size_mb"):
            assert f"{role}/{name}" in metrics
    assert "student/retained" in metrics
    assert parent.data.params["use.teacher"] == "tiny"
    curve = mlflow_client(clone).get_metric_history(stages[3].info.run_id, "train/soft")
    assert len(curve) == 2
    assert {i.dataset.name for i in stages[0].inputs.dataset_inputs} >= {"train", "test", "unlabelled"}
    files = {f.path for f in mlflow_client(clone).list_artifacts(parent.info.run_id)}
    assert {"report.md", "metrics.json", "plots"} <= files


def test_logged_models_predict_from_raw_text_without_training_code(clone: Path) -> None:
    names = {"fine-tune": "teacher", "distill": "student", "fine-tune control": "control"}
    runs = {run.info.run_name: run.info.run_id for run in mlflow_runs(clone)}
    script = (
        "import sys, mlflow.pyfunc\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "for address in sys.argv[2:]:\n"
        "    records = mlflow.pyfunc.load_model(address).predict(['I forgot my password'])\n"
        f"    assert records['label'][0] in {LABELS}, records\n"
        "    assert 0 < records['score'][0] <= 1\n"
        "modules = {m for m in sys.modules if m.count('.') > 1 and m.startswith('decant.')}\n"
        "modules -= {m for m in modules if m.split('.')[1] in ('core', 'serving', 'backbone')}\n"
        "assert modules <= {'decant.models.damage'}, modules\n"
    )
    teacher, student, control = (f"runs:/{runs[name]}/{role}" for name, role in names.items())
    load_logged_models(clone, script, teacher, student)
    load_logged_models(clone, script, control)  # it ships the code of its architecture, too


# --- commands on its results


def test_experiments_of_dvc_runs_of_mlflow_and_git_revisions_are_compared(clone: Path, tmp_path: Path) -> None:
    commit(clone)
    run_id, experiment = invocation(clone).info.run_id, invocation(clone).data.tags["dvc.experiment"]
    for arguments in ([experiment, "."], [run_id, "HEAD"]):
        done = decant(clone, tmp_path, "compare", *arguments)
        assert "one run each, the same test rows" in done.out, done.err
        assert f"student: {arguments[1]} is not distinguishable from {arguments[0]} at 95 %" in done.out
    done = decant(clone, tmp_path, "compare", "nowhere", ".")
    assert done.code == 2
    assert "there is no git revision, DVC experiment or MLflow run 'nowhere'" in done.err


def test_a_result_that_dvc_restored_is_shown(clone: Path, tmp_path: Path) -> None:
    commit(clone)
    before = len(mlflow_runs(clone))
    done = decant(clone, tmp_path, "experiment", "-S", "seed=0")  # its value already
    assert done.code == 0, done.err
    assert "evaluate did not have to run" in done.out
    assert "The result is in data/" in done.out
    assert "Test results" in done.out
    (address,) = re.findall("as an MLflow model: (.*)", done.out)
    run = mlflow_client(clone).get_run(address.removeprefix("runs:/").removesuffix("/student"))
    assert (run.info.run_name, run.data.tags["decant.digest"]) == ("distill", digest(clone / "data/distill"))
    assert len(mlflow_runs(clone)) == before + 1
    shown = {f.name for f in (clone / "mlartifacts" / mlflow_runs(clone)[-1].info.run_id / "artifacts").iterdir()}
    assert shown == {"latency.json", "latency.png", "metrics.json", "plots", "report.md", "rows.parquet"}


# --- dvc repro after a change


@pytest.fixture(scope="module")
def changed(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the clone, which the tests below change one after the other."""
    return copy_clone(clone, tmp_path_factory.mktemp("changed") / "clone")


def last_note(clone: Path) -> str:
    """The table of stages in the newest run of an invocation."""
    parents = [run for run in mlflow_runs(clone) if "mlflow.parentRunId" not in run.data.tags]
    return parents[-1].data.tags["mlflow.note.content"]


def test_a_value_of_the_chosen_loss_re_runs_distill_and_evaluate_and_links_the_rest_as_restored(changed: Path) -> None:
    edit_yaml(changed / "conf/loss/kd.yaml", lambda loss: loss.update(temperature=2.0))
    assert repro(changed) == ["distill", "evaluate"]
    note = last_note(changed)
    assert re.search(r"\| prepare \| .*restored \|", note)
    assert re.search(r"\| evaluate \| [^,]* \|", note)


def test_a_value_of_evaluate_re_runs_evaluate_alone(changed: Path) -> None:
    edit_yaml(changed / "params.yaml", lambda params: params["evaluate"].update(resamples=120))
    assert repro(changed) == ["evaluate"]


@pytest.mark.nightly
def test_another_student_re_runs_pretrain_load_distill_and_evaluate(changed: Path) -> None:
    edit_yaml(changed / "params.yaml", lambda params: params["use"].update(student="lstm"))
    assert repro(changed) == ["pretrain-load", "distill", "evaluate"]


def test_a_misspelt_key_stops_before_training_and_dvc_brings_the_output_back(changed: Path) -> None:
    weights, params = changed / "data/distill/model.safetensors", (changed / "params.yaml").read_text()
    before = weights.read_bytes()
    edit_yaml(changed / "params.yaml", lambda params: params["distill"].update(epoch=3))
    done = run_in(changed, "dvc", "repro")
    assert done.returncode != 0
    assert "did you mean 'epochs'" in done.stderr
    assert "Traceback" not in done.stderr
    (changed / "params.yaml").write_text(params)
    assert run_in(changed, "dvc", "checkout").returncode == 0
    assert weights.read_bytes() == before


# --- several seeds


@pytest.mark.nightly
def test_seeds_are_experiments_of_one_run_that_holds_the_statistics_of_their_metrics(
    copied_clone: Path, tmp_path: Path
) -> None:
    commit(copied_clone)
    done = decant(copied_clone, tmp_path, "experiment", "--seeds", "2")
    assert done.code == 0, done
    (run_id,) = re.findall("All seeds, for decant compare: ([0-9a-f]{32})", done.out)
    seeds = children(copied_clone, run_id)
    assert sorted(run.data.params["seed"] for run in seeds) == ["0", "1"]
    assert len({run.data.tags["dvc.experiment"] for run in seeds}) == 2
    assert yaml.safe_load((copied_clone / "params.yaml").read_text())["seed"] == 0
    metrics = mlflow_client(copied_clone).get_run(run_id).data.metrics
    for name in ("student/accuracy", "teacher/macro_f1", "student_int8/size_mb"):
        values = [run.data.metrics[name] for run in seeds]
        assert metrics[f"{name}/mean"] == pytest.approx(sum(values) / 2)
        assert metrics[f"{name}/std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
        assert metrics[f"{name}/low"] <= metrics[f"{name}/mean"] <= metrics[f"{name}/high"]
    done = decant(copied_clone, tmp_path, "compare", run_id, run_id)
    assert "2 seeds, paired t-test" in done.out, done.err
    assert f"student: {run_id} is not distinguishable from {run_id} at 95 %" in done.out


# --- the same bytes again


@pytest.mark.nightly
def test_verify_reproduces_the_committed_experiment_with_equal_bytes(copied_clone: Path, tmp_path: Path) -> None:
    commit(copied_clone)
    done = decant(copied_clone, tmp_path, "verify")
    assert done.code == 0, done
    rows = [line for line in done.out.splitlines() if line.startswith("│ data/")]
    assert len(rows) == 9
    assert all("byte-equal" in row for row in rows)
    assert "The environment is the one in which they were made" in done.out


@pytest.mark.nightly
def test_verify_measures_what_another_number_of_threads_changes_and_says_why(
    copied_clone: Path, tmp_path: Path
) -> None:
    edit_yaml(copied_clone / "conf/trainer/auto.yaml", lambda trainer: trainer.update(threads=2))
    commit(copied_clone)
    done = decant(copied_clone, tmp_path, "verify", "--tolerance", "1e9")
    assert done.code == 3, done
    assert "- trainer.threads was 1, and is 2 here (distill, evaluate, fine_tune, prepare, pretrain_load)" in done.out
    (row,) = [line for line in done.out.splitlines() if line.startswith("│ data/fine_tune")]
    assert re.search(r"equal within tolerance │ +[\d.e-]+ │ +(control/)?(model.safetensors|predictions.parquet) │", row)
