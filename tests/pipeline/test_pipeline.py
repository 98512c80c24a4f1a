"""End to end, as a user runs it: `dvc repro` on a small real configuration in a clone of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import boto3
import kill
import pandas as pd
import pytest
import yaml
from moto.server import ThreadedMotoServer
from support.clones import (
    ORDER,
    ask_logged_model,
    edit_yaml,
    environment,
    make_clone,
    mlflow_client,
    mlflow_runs,
    repro,
    run_in,
)
from support.commands import run_stage

from decant.core.hashing import digest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_clone(tmp_path_factory.mktemp("clone"))
    assert repro(folder) == ORDER
    return folder


def test_all_files_are_where_the_design_says(clone: Path) -> None:
    found = {str(f.relative_to(clone / "data")) for f in (clone / "data").rglob("*") if f.is_file()}
    found = {f for f in found if not f.startswith("raw/")}
    whole = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    predicted = whole | {"predictions.parquet"}
    start = {"config.json", "tokenizer.json", "tokenizer_config.json", "manifest.json"}
    wanted = {f"prepare/{s}.parquet" for s in ("train", "validation", "test", "unlabelled")}
    wanted |= {"prepare/card.json", "prepare/source/card.json"}
    wanted |= {f"pretrain_load/{r}/{f}" for r in ("teacher", "student", "scratch") for f in start}
    wanted |= {f"{s}/{c}{f}" for s in ("fine_tune", "distill") for c in ("", "control/") for f in predicted}
    wanted |= {f"distill/{v}/{f}" for v in ("onnx", "int8") for f in ("model.onnx", "predictions.parquet")}
    wanted |= {f"evaluate/{f}" for f in ("metrics.json", "latency.json", "latency.png", "report.md", "rows.parquet")}
    pictures = ("primary_metric.png", "size.png", "confusion.csv", "answers.png", "per_class.csv")
    wanted |= {f"evaluate/plots/{f}" for f in pictures}
    assert found == wanted


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
    wanted = [(s, i) for s in splits for i in pd.read_parquet(clone / f"data/prepare/{s}.parquet")["row_id"]]
    assert sorted(zip(found["split"], found["row_id"], strict=True)) == sorted(wanted)


def test_the_mlflow_tree_is_one_parent_with_a_run_for_each_stage(clone: Path) -> None:
    everything = mlflow_runs(clone)
    parents = [r for r in everything if "mlflow.parentRunId" not in r.data.tags]
    assert len(parents) == 1
    children = [r for r in everything if r.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    assert [r.info.run_name for r in children] == ORDER
    assert sorted(r.info.run_name for r in everything if r not in children and r not in parents) == [
        "distill control",
        "fine-tune control",
    ]
    assert {r.info.status for r in everything} == {"FINISHED"}
    metrics = parents[0].data.metrics
    for role in ("linear", "scratch", "teacher", "student_alone", "student", "student_onnx", "student_int8"):
        for name in ("accuracy", "macro_f1", "calibration_error", "latency_ms_p50", "throughput", "size_mb"):
            assert f"{role}/{name}" in metrics
    assert "student/retained" in metrics
    assert parents[0].data.params["use.teacher"] == "tiny"
    curve = mlflow_client(clone).get_metric_history(children[3].info.run_id, "train/soft")
    assert len(curve) == 2
    assert {i.dataset.name for i in children[0].inputs.dataset_inputs} >= {"train", "test", "unlabelled"}
    files = {f.path for f in mlflow_client(clone).list_artifacts(parents[0].info.run_id)}
    assert {"report.md", "metrics.json", "plots"} <= files


@pytest.mark.parametrize(
    ("name", "role"), [("fine-tune", "teacher"), ("distill", "student"), ("fine-tune control", "control")]
)
def test_logged_models_answer_raw_text_without_training_code(clone: Path, name: str, role: str) -> None:
    made = next(r for r in mlflow_runs(clone) if r.info.run_name == name)
    script = (
        "import sys, mlflow.pyfunc\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "answer = mlflow.pyfunc.load_model(sys.argv[2]).predict(['I forgot my password'])\n"
        "assert answer['label'][0] in ('invoice', 'login_problem', 'subscription_change'), answer\n"
        "assert 0 < answer['score'][0] <= 1\n"
        "ours = {m for m in sys.modules if m.startswith('decant.') and not m.startswith('decant.backbone')}\n"
        "assert all(m in ('decant.core', 'decant.core.errors') or m.startswith('decant.serving') for m in ours), ours\n"
    )
    ask_logged_model(clone, script, f"runs:/{made.info.run_id}/{role}")


def test_plain_transformers_loads_the_student(clone: Path) -> None:
    script = (
        "import sys\nsys.modules['decant'] = None\n"  # decant cannot be imported
        "from transformers import pipeline\n"
        "print(pipeline('text-classification', 'data/distill')('pause my coffee')[0]['label'])\n"
    )
    done = run_in(clone, sys.executable, "-c", script, PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("invoice", "login_problem", "subscription_change")


def committed(clone: Path) -> None:
    run_in(clone, "git", "add", "-A")
    run_in(clone, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "more")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that speaks as S3 does, with a bucket `models`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1").create_bucket(Bucket="models")
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_colleague_gets_the_model_from_a_remote_and_trains_nothing(
    kind: str, clone: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    committed(clone)
    colleague = tmp_path / "colleague"
    assert run_in(clone, "git", "clone", "--quiet", str(clone), str(colleague)).returncode == 0
    remote = ["s3://models/decant"] if kind == "s3" else [str(tmp_path / "remote")]
    for folder in (clone, colleague):
        assert (
            run_in(folder, "dvc", "remote", "add", "--local", "--force", "--default", "store", *remote).returncode == 0
        )
        if kind == "s3":
            server = request.getfixturevalue("bucket")
            run_in(folder, "dvc", "remote", "modify", "--local", "store", "endpointurl", server)
    for folder, word in ((clone, "push"), (colleague, "pull")):
        done = run_in(folder, "dvc", word)
        assert done.returncode == 0, done.stderr
    assert digest(colleague / "data/distill") == digest(clone / "data/distill")
    assert repro(colleague) == []


def test_verify_makes_the_committed_experiment_again_with_equal_bytes(clone: Path) -> None:
    committed(clone)
    done = run_in(clone, sys.executable, "-m", "decant.cli", "verify")
    assert done.returncode == 0, done.stdout + done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("│ data/")]
    assert len(table) == 9
    assert all("byte-equal" in line for line in table)
    assert "The environment is the one in which they were made" in done.stdout
    assert not (clone / ".state/verify").exists()


def test_verify_measures_what_another_number_of_threads_changes_and_says_why(clone: Path) -> None:
    file = clone / "conf/trainer/auto.yaml"
    file.write_text(file.read_text().replace("threads: 2", "threads: 1"))
    committed(clone)
    done = run_in(clone, sys.executable, "-m", "decant.cli", "verify", "--tolerance", "1e9")
    assert done.returncode == 3, done.stdout + done.stderr
    assert (
        "- trainer.threads was 2, and is 1 here (distill, evaluate, fine_tune, prepare, pretrain_load)" in done.stdout
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("│ data/fine_tune")]
    assert re.search(
        r"equal within tolerance │ +[\d.e-]+ │ +(control/)?(model.safetensors|predictions.parquet) │", line
    )
    file.write_text(file.read_text().replace("threads: 1", "threads: 2"))
    committed(clone)


def test_two_processes_give_the_metrics_of_one(clone: Path, tmp_path: Path) -> None:
    other = make_clone(tmp_path)
    assert repro(other, DECANT_TRAINER="ddp_cpu") == ORDER
    for name in ("fine_tune", "distill"):
        one, two = (pd.read_parquet(c / "data" / name / "predictions.parquet") for c in (clone, other))
        assert one[["split", "row_id"]].equals(two[["split", "row_id"]])
        difference = (one["logits"].explode().astype(float) - two["logits"].explode().astype(float)).abs()
        assert difference.max() < 0.1  # bf16 sums in another order; logits are of size 1
    names = sorted(r.info.run_name for r in mlflow_runs(other))
    assert names == sorted(r.info.run_name for r in mlflow_runs(clone))  # rank 1 logged nothing


@pytest.mark.usefixtures("clone")
class TestWhatReRuns:
    """The table of design and README, row by row; each test leaves a reproduced clone behind."""

    def test_nothing_changed(self, clone: Path) -> None:
        assert repro(clone) == []

    def test_a_comment_or_what_nobody_chose(self, clone: Path) -> None:
        kd = clone / "conf/loss/kd.yaml"
        kd.write_text(kd.read_text() + "# a remark\n")
        edit_yaml(clone / "conf/backbone/distilbert.yaml", lambda y: y.update(lr_scale=2.0))
        edit_yaml(clone / "conf/trainer/auto.yaml", lambda y: y.update(threads=1))
        (clone / "conf/trainer/auto.yaml").write_text((clone / "conf/trainer/auto.yaml").read_text() + "# x\n")
        (clone / "conf/loss/new.yaml").write_text("_target_: decant.loss.none.NoDistillation\n")
        assert repro(clone) == []

    def test_a_value_of_the_chosen_loss(self, clone: Path) -> None:
        edit_yaml(clone / "conf/loss/kd.yaml", lambda y: y.update(temperature=2.0))
        assert repro(clone) == ["distill", "evaluate"]

    def test_a_knob_of_distill(self, clone: Path) -> None:
        edit_yaml(clone / "params.yaml", lambda p: p["distill"].update(epochs=1))
        assert repro(clone) == ["distill", "evaluate"]

    def test_another_student(self, clone: Path) -> None:
        edit_yaml(clone / "params.yaml", lambda p: p["use"].update(student="lstm"))
        assert repro(clone) == ["pretrain-load", "distill", "evaluate"]

    def test_another_loss(self, clone: Path) -> None:
        edit_yaml(clone / "params.yaml", lambda p: p["use"].update(loss="none"))
        assert repro(clone) == ["distill", "evaluate"]

    def test_a_new_family_stops_at_pretrain_load(self, clone: Path) -> None:
        (clone / "src/decant/backbone/other.py").write_text('"""A family nobody chose."""\n')
        assert repro(clone) == ["pretrain-load"]

    def test_the_code_of_a_loss_that_nobody_chose_but_a_sum_may(self, clone: Path) -> None:
        kd = clone / "src/decant/loss/kd.py"
        kd.write_text(kd.read_text() + "# a remark\n")
        assert repro(clone) == ["distill"]

    def test_a_knob_of_the_export(self, clone: Path) -> None:
        edit_yaml(clone / "params.yaml", lambda p: p["export"].update(most_lost=0.5))
        assert repro(clone) == ["distill"]

    def test_another_seed(self, clone: Path) -> None:
        edit_yaml(clone / "params.yaml", lambda p: p.update(seed=1))
        assert repro(clone) == ORDER

    def test_another_teacher(self, clone: Path) -> None:
        edit_yaml(clone / "params.yaml", lambda p: p["use"].update(teacher="lstm"))
        assert repro(clone) == ["pretrain-load", "fine-tune", "distill", "evaluate"]

    def test_stages_that_did_not_run_are_linked_as_restored(self, clone: Path) -> None:
        last = [r for r in mlflow_runs(clone) if "mlflow.parentRunId" not in r.data.tags][-1]
        note = last.data.tags["mlflow.note.content"]
        assert re.search(r"\| prepare \| .*restored \|", note)
        assert re.search(r"\| evaluate \| [^,]* \|", note)


def test_a_misspelt_key_stops_before_training_and_dvc_brings_the_output_back(clone: Path) -> None:
    before = (clone / "data/distill/model.safetensors").read_bytes()
    kept = (clone / "params.yaml").read_text()
    edit_yaml(clone / "params.yaml", lambda p: p["distill"].update(epoch=3))
    done = run_in(clone, "dvc", "repro")
    assert done.returncode != 0
    assert "did you mean 'epochs'" in done.stderr
    assert "Traceback" not in done.stderr
    (clone / "params.yaml").write_text(kept)
    assert run_in(clone, "dvc", "checkout").returncode == 0
    assert (clone / "data/distill/model.safetensors").read_bytes() == before


def test_make_experiment_shows_a_result_that_dvc_restored(clone: Path) -> None:
    committed(clone)
    before = len(mlflow_runs(clone))
    done = run_in(clone, sys.executable, "-m", "decant.cli", "experiment")
    assert done.returncode == 0, done.stderr
    assert "evaluate did not have to run" in done.stdout
    assert "Test results" in done.stdout
    (address,) = re.findall("as an MLflow model: (.*)", done.stdout)
    made = mlflow_client(clone).get_run(address.removeprefix("runs:/").removesuffix("/student"))
    assert (made.info.run_name, made.data.tags["decant.digest"]) == ("distill", digest(clone / "data/distill"))
    assert len(mlflow_runs(clone)) == before + 1
    shown = {f.name for f in (clone / "mlartifacts" / mlflow_runs(clone)[-1].info.run_id / "artifacts").iterdir()}
    assert shown == {"latency.json", "latency.png", "metrics.json", "plots", "report.md", "rows.parquet"}


def test_seeds_are_experiments_of_one_run_that_holds_their_figures(clone: Path) -> None:
    committed(clone)
    done = run_in(clone, sys.executable, "-m", "decant.cli", "experiment", "--seeds", "2")
    assert done.returncode == 0, done.stderr
    whole = re.findall("All seeds, for decant compare: ([0-9a-f]{32})", done.stdout)[0]
    each = [r for r in mlflow_runs(clone) if r.data.tags.get("mlflow.parentRunId") == whole]
    assert sorted(r.data.params["seed"] for r in each) == ["0", "1"]
    assert yaml.safe_load((clone / "params.yaml").read_text())["seed"] == 0
    found = mlflow_client(clone).get_run(whole).data.metrics
    for name in ("student/accuracy", "teacher/macro_f1", "student_int8/size_mb"):
        values = [r.data.metrics[name] for r in each]
        assert found[f"{name}/mean"] == pytest.approx(sum(values) / 2)
        assert found[f"{name}/std"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
        assert found[f"{name}/low"] <= found[f"{name}/mean"] <= found[f"{name}/high"]
    done = run_in(clone, sys.executable, "-m", "decant.cli", "compare", whole, whole)
    assert "2 seeds, paired t-test" in done.stdout, done.stderr
    assert f"student: {whole} is not distinguishable from {whole} at 95 %" in done.stdout


def test_experiments_of_dvc_and_runs_of_mlflow_are_compared(clone: Path) -> None:
    made = [r for r in mlflow_runs(clone) if "dvc.experiment" in r.data.tags and "mlflow.parentRunId" in r.data.tags]
    last = [r for r in made if r.data.params["seed"] == "0" and "decant.invocation" in r.data.tags][-1]
    for words in ([last.data.tags["dvc.experiment"], "."], [last.info.run_id, "."], [last.info.run_id, "HEAD"]):
        done = run_in(clone, sys.executable, "-m", "decant.cli", "compare", *words)
        assert "one run each, the same test rows" in done.stdout, done.stderr
        assert f"student: {words[1]} is not distinguishable from {words[0]} at 95 %" in done.stdout
    done = run_in(clone, sys.executable, "-m", "decant.cli", "compare", "nowhere", ".")
    assert done.returncode == 2
    assert "there is no git revision, DVC experiment or MLflow run 'nowhere'" in done.stderr


def test_a_batch_that_devices_cannot_share_is_refused(clone: Path) -> None:
    done = run_stage("fine_tune", "fine_tune.batch_size=15", "trainer=ddp_cpu", cwd=clone)
    assert done.returncode != 0
    assert "batch_size is 15, which 2 devices cannot share evenly" in done.stderr


@pytest.mark.parametrize(
    "way", ["Ctrl-C", "SIGTERM to it alone", "SIGTERM to it alone, in the background", "SIGTERM to all"]
)
def test_an_experiment_that_is_stopped_leaves_git_as_it_was(way: str, tmp_path: Path) -> None:
    folder = make_clone(tmp_path / "clone")
    (folder / "mine.txt").write_text("a file of the user's")
    before = run_in(folder, "git", "symbolic-ref", "HEAD").stdout
    interrupt = signal.SIG_IGN if "background" in way else signal.SIG_DFL  # as shells do
    process = subprocess.Popen(
        [sys.executable, "-m", "decant.cli", "experiment", "-S", "fine_tune.epochs=1000"],
        cwd=folder, env=environment(folder), stdout=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, interrupt),
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 2/1000"):
            if way == "Ctrl-C":
                os.killpg(process.pid, signal.SIGINT)  # as a terminal does: make, decant, DVC and the stage get it
            elif way == "SIGTERM to all":
                os.killpg(process.pid, signal.SIGTERM)
            else:
                process.terminate()
            break
    else:
        pytest.fail("the experiment ended before its second epoch")
    process.communicate(timeout=60)
    assert process.returncode
    assert run_in(folder, "git", "symbolic-ref", "HEAD").stdout == before
    assert run_in(folder, "git", "diff", "--cached", "--quiet").returncode == 0
    assert "?? mine.txt" in run_in(folder, "git", "status", "--short").stdout
    with pytest.raises(ProcessLookupError):  # nothing goes on by itself
        os.killpg(process.pid, 0)
    assert {found.info.status for found in kill.mlflow_runs(folder)} <= {"FINISHED", "KILLED", "FAILED"}
