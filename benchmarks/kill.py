"""Experiments whose stages are killed, compared with one that runs without interruption.

python benchmarks/kill.py [rounds=6] [seed=0] [key=value ...]

Each round is a fresh clone with an empty cache. In it every stage is killed once, at a random moment: the stage by
SIGKILL or SIGTERM, DVC by SIGKILL, or both by Ctrl-C. Then `dvc repro` resumes. key=value changes params.yaml; default:
the smallest experiment. Written to benchmarks/kill.md; the exit code is 1 if a round differs.
"""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import psutil
import sections
import workspaces
import yaml
from mlflow import MlflowClient
from omegaconf import OmegaConf

from decant.core.errors import UserError
from decant.core.locks import GRACE_SECONDS
from decant.core.processes import argv
from decant.evaluation.report import markdown_table

METHODS = ("SIGKILL", "SIGTERM", "Ctrl-C", "SIGKILL of DVC")
COLUMNS = ("seed", "stage, signal, seconds into the stage", "resumed trainings", "outputs", "runs in MLflow")
LATEST = 0.7
"""Latest moment of a kill, as a share of the stage's time: the stage may be faster this time."""
IMPORT_SECONDS = 4
"""About the seconds before a stage begins its work."""
SMALL = ["use.data=toy", "use.teacher=tiny", "use.student=tiny", "use.scratch=tiny"]
EQUAL, COMPLETE = "byte-equal", "complete"


class Round(NamedTuple):
    """The result of one round."""

    seed: int
    kills: list[str]
    resumed: int
    """Trainings that resumed from a saved state."""
    outputs: str
    """EQUAL or "different"."""
    runs: str
    """COMPLETE, or what is wrong with the runs in MLflow."""

    def cells(self) -> list[str]:
        """The row of the table."""
        return [str(self.seed), "; ".join(self.kills), str(self.resumed), self.outputs, self.runs]


def main(arguments: list[str]) -> int:
    """Run the rounds and write the section; 1 if one of them differs."""
    options, changes = sections.split_options(arguments, ["rounds", "seed"])
    changes = changes or SMALL
    count, seed = sections.number(options, "rounds", 6), sections.number(options, "seed", 0)
    with TemporaryDirectory() as folder:
        reference = clone(Path(folder, "reference"), changes)
        if start_repro(reference).wait():
            raise UserError((reference / "log.txt").read_text())
        seconds = stage_seconds(reference)
        latest = {stage: seconds[stage] + IMPORT_SECONDS for stage in workspaces.STAGES}
        rounds = [run_round(Path(folder, str(n)), changes, reference, latest, seed + n) for n in range(count)]
    lines = [
        f"{sum(len(r.kills) for r in rounds)} kills; seeds {seed} to {seed + count - 1}.",
        f"Experiment: params.yaml with `{' '.join(changes)}`. {sections.machine([])}",
        "",
        markdown_table(COLUMNS, [r.cells() for r in rounds]),
    ]
    sections.write("kill.md", " ".join(changes), lines)
    return int(any(r.outputs != EQUAL or r.runs != COMPLETE for r in rounds))


def clone(folder: Path, changes: Sequence[str]) -> Path:
    """A clone of this checkout with changes in its params.yaml."""
    subprocess.run(["git", "clone", "--quiet", str(sections.ROOT), str(folder)], check=True)
    params = OmegaConf.load(folder / "params.yaml")
    params.merge_with_dotlist(list(changes))
    OmegaConf.save(params, folder / "params.yaml")
    return folder


def start_repro(folder: Path, store: str | None = None) -> subprocess.Popen[bytes]:
    """Start `dvc repro` in a session of its own; its output goes to log.txt, its runs to `store` or to a new one."""
    environment = {k: v for k, v in os.environ.items() if k not in ("DECANT_INVOCATION", "MLFLOW_TRACKING_URI")}
    environment |= {"PYTHONPATH": str(folder / "src")} | ({"MLFLOW_TRACKING_URI": store} if store else {})
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            ["dvc", "repro"], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def run_round(folder: Path, changes: Sequence[str], reference: Path, latest: Mapping[str, float], seed: int) -> Round:
    """Kill each stage of `latest` once, LATEST times so many seconds after its start at most; then run to the end."""
    generator = random.Random(seed)
    clone(folder, changes)
    kills = []
    for stage, seconds in latest.items():
        method, delay = generator.choice(METHODS), generator.uniform(0, LATEST * seconds)
        if kill(folder, stage, method, delay):
            kills.append(f"{stage}, {method}, {delay:.1f}")
    code = start_repro(folder).wait()
    equal = code == 0 and output_digests(folder) == output_digests(reference)
    resumed = (folder / "log.txt").read_text().count("resuming from")
    result = Round(seed, kills, resumed, EQUAL if equal else "different", check_runs(folder))
    print(*result.cells(), sep=" | ", flush=True)
    return result


def kill(folder: Path, stage: str, method: str, delay: float) -> bool:
    """Start `dvc repro` and kill it `delay` seconds after `stage` started; False: the stage had ended by then."""
    pipeline = start_repro(folder)
    process = None
    while process is None and pipeline.poll() is None:
        process = next(stage_processes(pipeline.pid, stage), None)
        time.sleep(0.05)
    time.sleep(delay)
    if process is None or not process.is_running():
        pipeline.wait()
        return False
    end(pipeline, process, method)
    return True


def end(pipeline: subprocess.Popen[bytes], process: psutil.Process, method: str) -> None:
    """Kill a stage, or its pipeline, and wait until both have ended."""
    if method == "Ctrl-C":
        os.killpg(pipeline.pid, signal.SIGINT)
    elif method == "SIGKILL of DVC":
        pipeline.kill()
    else:
        process.send_signal(getattr(signal, method))
    pipeline.wait()
    session = [p for p in psutil.process_iter() if session_id(p) == pipeline.pid]
    _, orphans = psutil.wait_procs(session, timeout=2 * GRACE_SECONDS)
    assert not orphans, f"{method} left {orphans}"


def stage_processes(pipeline: int, stage: str) -> Iterator[psutil.Process]:
    """The processes of a stage that a DVC process started."""
    for process in psutil.Process(pipeline).children(recursive=True):
        arguments = argv(process)
        if arguments[1:4] == ["-m", "decant", stage]:
            yield process


def session_id(process: psutil.Process) -> int:
    """The session of a process; 0: the process has ended."""
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return 0


def stage_seconds(folder: Path) -> dict[str, float]:
    """Seconds of each stage, from MLflow."""
    runs = [run for run in mlflow_runs(folder) if "decant.stage" in run.data.tags]
    return {run.data.tags["decant.stage"]: (run.info.end_time - run.info.start_time) / 1000 for run in runs}


def output_digests(folder: Path) -> dict[str, str]:
    """{path: md5} of all outputs, from dvc.lock."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def mlflow_client(folder: Path) -> MlflowClient:
    """A client of the store of a clone."""
    return MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")


def mlflow_runs(folder: Path) -> list[Any]:
    """All runs of a clone."""
    client = mlflow_client(folder)
    return list(client.search_runs([client.get_experiment_by_name("decant").experiment_id]))


def check_runs(folder: Path) -> str:
    """COMPLETE, or what is wrong: a run that is still RUNNING, two runs of a stage, a step that was logged twice."""
    runs = mlflow_runs(folder)
    problems = [f"{run.info.run_name} is RUNNING" for run in runs if run.info.status == "RUNNING"]
    names = Counter(run.info.run_name for run in runs if "mlflow.parentRunId" in run.data.tags)
    problems += [f"{count} runs {name}" for name, count in names.items() if count > 1]
    client = mlflow_client(folder)
    for run in runs:
        for name in run.data.metrics:
            steps = [metric.step for metric in client.get_metric_history(run.info.run_id, name)]
            problems += [f"{run.info.run_name}: {name} twice"] if len(set(steps)) < len(steps) else []
    return "; ".join(problems) or COMPLETE


if __name__ == "__main__":
    sections.run(main, __doc__)
