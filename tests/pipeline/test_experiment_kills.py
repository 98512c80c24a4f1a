"""`decant experiment` killed at random moments of all that it does, on stages that only hash their inputs.

DECANT_KILLS=200 python -m pytest -s tests/pipeline/test_experiment_kills.py kills it 200 times; each test run kills it
a few times. It prints the seed of its random numbers; DECANT_KILL_SEED=<seed> repeats them.
"""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from support.clones import mlflow_client, mlflow_runs
from support.git import git, user_state
from support.stub_project import lock_digests, make_stub_project, run_experiment, set_seed, start_experiment

from decant.workspace.worktree import EXPERIMENTS

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("DECANT_KILLS", "4"))
SEED = int(os.environ.get("DECANT_KILL_SEED", random.randrange(10**6)))
PER_EXPERIMENT = 4
"""At most so many kills, then the command runs to its end."""


def kill(project: Path, logs: Path, generator: random.Random, seconds: float) -> str:
    """Start the command and kill it, or all of its processes, at a random moment; what was done."""
    process = start_experiment(project, logs)
    assert process.pid is not None
    delay, everything = generator.uniform(0, seconds), generator.random() < 0.5
    process.join(delay)
    descendants = psutil.Process(process.pid).children(recursive=True) if process.is_alive() else []
    if everything:
        with suppress(ProcessLookupError):  # it has ended, or not yet made its group
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()
    _, alive = psutil.wait_procs(descendants, timeout=60)
    assert not alive, f"{alive} outlived the command"
    return f"{'all' if everything else 'it'} after {delay:.2f} s"


def check_runs(project: Path, count: int) -> None:
    """One finished run for each experiment, and no metric twice."""
    runs, client = mlflow_runs(project), mlflow_client(project)
    assert Counter(run.info.status for run in runs) == {"FINISHED": count}
    assert len({run.data.params["seed"] for run in runs}) == count
    for run in runs:
        assert len(run.data.metrics) == 4
        for name in run.data.metrics:
            assert len(client.get_metric_history(run.info.run_id, name)) == 1


def test_a_killed_experiment_goes_on_and_what_the_user_has_is_at_every_moment_as_it_was(
    tmp_path: Path, empty_mlflow_store: Path
) -> None:
    print(f"DECANT_KILL_SEED={SEED}")
    generator, logs = random.Random(SEED), tmp_path / "logs"
    logs.mkdir()
    reference = make_stub_project(tmp_path / "reference", empty_mlflow_store)
    project = make_stub_project(tmp_path / "project", empty_mlflow_store)
    start = time.monotonic()
    assert run_experiment(reference, logs).code == 0
    seconds, killed, experiments = time.monotonic() - start, 0, 0
    while killed < KILLS:
        experiments += 1
        for folder in (reference, project):
            set_seed(folder, 100 + experiments)
        before, done = user_state(project), []
        for _ in range(min(generator.randint(1, PER_EXPERIMENT), KILLS - killed)):
            done.append(kill(project, logs, generator, seconds))
            assert user_state(project) == before, done
        killed += len(done)
        print(f"experiment {experiments}: killed {'; '.join(done)}", flush=True)
        for folder in (reference, project):
            result = run_experiment(folder, logs)
            assert result.code == 0, (done, result)
        assert user_state(project) == before
        assert lock_digests(project) == lock_digests(reference), done
    check_runs(project, experiments)
    assert not [f for f in (project / EXPERIMENTS).iterdir() if f.is_dir()]
    assert len(git(project, "worktree", "list").splitlines()) == 1
