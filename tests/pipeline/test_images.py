"""Images end to end, as a user runs them: `make experiment EXPERIMENT=digits` with fewer epochs, in a clone."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from support.clones import load_logged_models, make_clone, mlflow_runs, run_in
from support.git import user_state

from decant.config.compose import experiment_overrides

pytestmark = pytest.mark.slow
SHORT = ["pretrain_load.epochs=2", "fine_tune.epochs=2", "fine_tune.control_epochs=2"]
SHORT += ["distill.epochs=1", "distill.control_epochs=2", "evaluate.resamples=100"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, empty_mlflow_store: Path) -> Path:
    folder = make_clone(tmp_path_factory.mktemp("images"), empty_mlflow_store)
    words = [word for value in SHORT for word in ("-S", value)]
    before = user_state(folder)
    done = run_in(folder, sys.executable, "-m", "decant.cli", "experiment", "--experiment", "digits", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "from scratch (no transfer)" in done.stdout
    assert "Failed to validate" not in done.stdout + done.stderr
    assert user_state(folder) == before
    assert not (folder / "data/distill").exists()
    (name,) = re.findall("Take it over: dvc exp apply (.*)", done.stdout)
    done = run_in(folder, "dvc", "exp", "apply", name)
    assert done.returncode == 0, done.stderr
    return folder


def test_an_experiment_leaves_params_as_they_were_until_it_is_applied(clone: Path) -> None:
    """The clone has the values of the experiment only since `dvc exp apply`."""
    params = yaml.safe_load((clone / "params.yaml").read_text())
    values = dict(value.split("=", 1) for value in experiment_overrides("digits", clone))
    assert params["use"]["teacher"] == values["use.teacher"]
    assert params["prepare"]["labels_per_class"] == int(values["prepare.labels_per_class"])
    assert params["fine_tune"]["epochs"] == 2  # -S goes on top


def test_the_source_task_made_the_weights(clone: Path) -> None:
    folder = clone / "data/pretrain_load/teacher"
    assert (folder / "model.safetensors").exists()
    assert yaml.safe_load((folder / "manifest.json").read_text())["source"] == "digits_source"
    assert not (clone / "data/pretrain_load/scratch/model.safetensors").exists()


def test_plain_transformers_loads_the_student(clone: Path) -> None:
    script = (
        "import sys\nsys.modules['decant'] = None\n"  # decant cannot be imported
        "from PIL import Image\nfrom transformers import pipeline\n"
        "print(pipeline('image-classification', 'data/distill')(Image.new('RGB', (20, 20)))[0]['label'])\n"
    )
    done = run_in(clone, sys.executable, "-c", script, PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("5", "6", "7", "8", "9")


def test_the_logged_model_answers_the_bytes_of_an_image(clone: Path) -> None:
    run = next(r for r in mlflow_runs(clone) if r.info.run_name == "distill")
    script = (
        "import io, sys, base64, mlflow.pyfunc\nfrom PIL import Image\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "file = io.BytesIO()\nImage.new('L', (30, 20)).save(file, 'PNG')\n"
        "model = mlflow.pyfunc.load_model(sys.argv[2])\n"
        "answer = model.predict([file.getvalue(), base64.encodebytes(file.getvalue())])\n"
        "assert answer['label'][0] in '56789' and 0 < answer['score'][0] <= 1, answer\n"
        "assert answer['score'][0] == answer['score'][1], answer\n"
    )
    load_logged_models(clone, script, f"runs:/{run.info.run_id}/student")
