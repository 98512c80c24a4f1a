"""Several devices train as one does."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from support.clones import environment, mlflow_runs
from support.commands import run_fork
from support.stores import copy_store

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("stage", "runs"),
    [
        ("fine_tune", ["fine-tune", "fine-tune control"]),
        pytest.param("distill", ["distill", "distill control"], marks=pytest.mark.nightly),
    ],
)
def test_two_processes_give_the_predictions_of_one(
    stage: str, runs: list[str], clone: Path, copied_clone: Path, tmp_path: Path, empty_mlflow_store: Path
) -> None:
    copy_store(empty_mlflow_store, copied_clone)
    shutil.rmtree(copied_clone / "data" / stage)
    done = run_fork([stage, "trainer=ddp_cpu"], copied_clone, environment(copied_clone), tmp_path)
    assert done.code == 0, done
    one, two = (pd.read_parquet(c / "data" / stage / "predictions.parquet") for c in (clone, copied_clone))
    assert one[["split", "row_id"]].equals(two[["split", "row_id"]])
    difference = (one["logits"].explode().astype(float) - two["logits"].explode().astype(float)).abs()
    assert difference.max() < 0.1  # bf16 sums in another order; logits are of size 1
    names = [run.info.run_name for run in mlflow_runs(copied_clone) if "mlflow.parentRunId" in run.data.tags]
    assert sorted(names) == runs  # rank 1 logged nothing


@pytest.mark.nightly
def test_a_batch_that_devices_cannot_share_is_refused(copied_clone: Path, tmp_path: Path) -> None:
    arguments = ["fine_tune", "fine_tune.batch_size=15", "trainer=ddp_cpu"]
    done = run_fork(arguments, copied_clone, environment(copied_clone), tmp_path)
    assert done.code == 2
    assert "batch_size is 15, which 2 devices cannot share evenly" in done.err
