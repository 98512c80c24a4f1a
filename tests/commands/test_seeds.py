from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
from scipy import stats
from support.paths import ROOT
from support.stores import copy_store

from decant.commands import seeds
from decant.core.errors import UserError
from decant.experiment.experiment import Experiment
from decant.tracking import runs, store


def test_statistics_over_seeds_are_those_by_hand() -> None:
    summary = seeds.mean_interval([0.70, 0.74, 0.72], 0.95)
    assert summary["mean"] == pytest.approx(0.72)
    assert summary["std"] == pytest.approx(0.02)
    low, high = stats.t.interval(0.95, 2, loc=0.72, scale=0.02 / np.sqrt(3))
    assert (summary["low"], summary["high"]) == (pytest.approx(low), pytest.approx(high))


def test_a_metric_that_one_seed_lacks_is_left_out() -> None:
    assert set(seeds.summarize([{"a": 1.0, "b": 2.0}, {"a": 3.0}], 0.95)) == {"a"}


def test_the_interval_of_two_seeds_is_not_shown() -> None:
    summary = {"mean": 0.72, "std": 0.02, "low": 0.67, "high": 0.77}
    assert seeds.cell(summary, 2) == "72.0 ± 2.0"
    assert seeds.cell(summary, 3) == "72.0 ± 2.0 [67.0, 77.0]"


@pytest.fixture
def experiment(tmp_path: Path, empty_mlflow_store: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """An experiment in a folder with an empty store, where nothing prints a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv(seeds.SEEDS_RUN, "")
    copy_store(empty_mlflow_store, tmp_path)
    monkeypatch.setattr(seeds, "show", lambda *_: None)
    monkeypatch.setattr(seeds, "seed_report", lambda run: {})
    return Experiment.load([], ROOT)


def run_seed(seed: int) -> int:
    """What one invocation of the pipeline leaves in MLflow."""
    tag = {"mlflow.parentRunId": seeds.os.environ[seeds.SEEDS_RUN]}
    with runs.open_run(f"seed {seed}", tag) as run_id:
        runs.Run(run_id).log_params({"seed": seed})
        runs.Run(run_id).log_metrics({"student/accuracy": 0.5 + seed / 10})
    return 0


def test_the_run_over_seeds_holds_the_statistics_of_their_metrics(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds.run_seeds(2, experiment, run_seed)
    run_id = capsys.readouterr().out.split()[-1]
    parent = mlflow.get_run(run_id)
    assert parent.data.metrics["student/accuracy/mean"] == pytest.approx(0.55)
    assert parent.data.metrics["student/accuracy/std"] == pytest.approx(0.1 / 2**0.5)
    assert parent.data.params["use.loss"] == "kd"
    assert parent.info.status == "FINISHED"
    children = store.find(f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert sorted(child.data.params["seed"] for child in children) == ["0", "1"]


def test_the_last_seed_to_run_is_0_whose_outputs_stay_in_the_folder(experiment: Experiment) -> None:
    order: list[int] = []
    seeds.run_seeds(3, experiment, lambda seed: order.append(seed) or run_seed(seed))
    assert order == [2, 1, 0]


def test_a_seed_that_fails_ends_the_command_and_is_named(experiment: Experiment) -> None:
    with pytest.raises(UserError, match="seed 1 failed; correct what is said above"):
        seeds.run_seeds(2, experiment, lambda seed: 1)
    assert {run.info.status for run in store.find("")} == {"FAILED"}


def test_a_seed_that_mlflow_does_not_have_is_named(experiment: Experiment) -> None:
    with pytest.raises(UserError, match="MLflow has 1 of 2 seeds"):
        seeds.run_seeds(2, experiment, lambda seed: run_seed(seed) if seed else 0)


def test_seeds_are_sorted_by_number(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [SimpleNamespace(data=SimpleNamespace(params={"seed": str(n)})) for n in (10, 9, 0)]
    monkeypatch.setattr(seeds.store, "find", lambda query: found)
    assert [run.data.params["seed"] for run in seeds.seed_runs("id", 3)] == ["0", "9", "10"]
