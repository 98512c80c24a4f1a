"""What is left of an experiment whose stages are killed, beside one that was left in peace.

python benchmarks/kill.py [rounds=6] [seed=0] [key=value ...]

Each round is a fresh clone with an empty cache, in which every stage is killed once, at a random moment of its work:
the stage or DVC by SIGKILL, the stage by SIGTERM, or all of them by Ctrl-C. Then `dvc repro` goes on. Written to
benchmarks/kill.md; the exit code is 1 where a round differs.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import psutil
import sections
import yaml
from omegaconf import OmegaConf

from decant.core.resume import READS
from decant.core.stage import GRACE, quiet
from decant.evaluation.report import markdown_table

WAYS = ("SIGKILL", "SIGTERM", "Ctrl-C", "SIGKILL of DVC")
COLUMNS = ("seed", "killed, how, seconds into the stage", "trainings that went on", "outputs", "runs in MLflow")
SHARE = 0.7
"""Of the time that a stage took, in which it is killed: it may be quicker this time, and then all would be done."""
IMPORTS = 4
"""Seconds, about, before a stage begins its work."""
SMALL = ["use.data=toy", "use.teacher=tiny", "use.student=tiny", "use.scratch=tiny"]


def main(words: list[str]) -> int:
    """Run the rounds and write the section; 1, if one of them differs."""
    quiet()
    own = {k: int(v) for k, _, v in (w.partition("=") for w in words) if k in ("rounds", "seed")}
    values = [w for w in words if w.partition("=")[0] not in own] or SMALL
    rounds, seed = own.get("rounds", 6), own.get("seed", 0)
    with TemporaryDirectory() as place:
        whole = cloned(Path(place, "whole"), values)
        assert repro(whole).wait() == 0, (whole / "log.txt").read_text()
        took = {stage: durations(whole)[stage] + IMPORTS for stage in READS}
        made = [one(Path(place, str(number)), values, whole, took, seed + number) for number in range(rounds)]
    rows = [[*row[:1], "; ".join(row[1]), *row[2:]] for row in made]
    head = f"{sum(len(row[1]) for row in made)} kills; seeds {seed} to {seed + rounds - 1}."
    changed = f"Experiment: params.yaml with `{' '.join(values)}`. {sections.machine([])}"
    sections.write("kill.md", " ".join(values), "\n".join([head, changed, "", markdown_table(COLUMNS, rows)]))
    return int(any("different" in row[3] or row[4] != "whole" for row in rows))


def cloned(folder: Path, values: list[str]) -> Path:
    """A clone of this checkout with `values` in its params.yaml."""
    subprocess.run(["git", "clone", "--quiet", str(sections.ROOT), str(folder)], check=True)
    params = OmegaConf.load(folder / "params.yaml")
    params.merge_with_dotlist(values)
    OmegaConf.save(params, folder / "params.yaml")
    return folder


def repro(folder: Path, store: str | None = None) -> subprocess.Popen[bytes]:
    """`dvc repro` in a session of its own, its words in log.txt; its runs in a store of its own, or in `store`."""
    env = {k: v for k, v in os.environ.items() if k not in ("DECANT_INVOCATION", "MLFLOW_TRACKING_URI")}
    env |= {"PYTHONPATH": str(folder / "src")} | ({"MLFLOW_TRACKING_URI": store} if store else {})
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(["dvc", "repro"], cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)


def one(folder: Path, values: list[str], whole: Path, took: dict[str, float], seed: int) -> list[Any]:
    """A round, in which each stage of `took` is killed in as many seconds at most: the row of the table."""
    draw = random.Random(seed)
    cloned(folder, values)
    killed = []
    for stage, most in took.items():
        way, after = draw.choice(WAYS), draw.uniform(0, SHARE * most)
        if kill(folder, stage, way, after):
            killed.append(f"{stage}, {way}, {after:.1f}")
    code = repro(folder).wait()
    same = outputs(folder) == outputs(whole)
    went_on = (folder / "log.txt").read_text().count("going on from")
    print(seed, killed, went_on, code, same, flush=True)
    end = "byte-equal" if same and not code else "different"
    return [str(seed), killed, str(went_on), end, runs(folder)]


def kill(folder: Path, stage: str, way: str, after: float) -> bool:
    """Start, and kill in `stage` when it is so many seconds old; false: it was done before, and all ran to its end."""
    pipeline = repro(folder)
    process = None
    while process is None and pipeline.poll() is None:
        process = next(stages(pipeline.pid, stage), None)
        time.sleep(0.05)
    time.sleep(after)
    alive = process is not None and process.is_running()
    if alive and way == "Ctrl-C":
        os.killpg(pipeline.pid, signal.SIGINT)
    elif alive and way == "SIGKILL of DVC":
        pipeline.kill()
    elif alive and process is not None:
        process.send_signal(getattr(signal, way))
    pipeline.wait()
    left = [p for p in psutil.process_iter() if session(p) == pipeline.pid]
    _, orphans = psutil.wait_procs(left, timeout=2 * GRACE)
    assert not orphans, f"{way} in {stage} left {orphans}"
    return alive


def stages(pipeline: int, name: str) -> Iterator[psutil.Process]:
    """The process of a stage, below a pipeline."""
    for process in psutil.Process(pipeline).children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.NoSuchProcess:
            continue
        if f"decant.{name}" in words and Path(words[0]).name.startswith("python"):
            yield process


def session(process: psutil.Process) -> int:
    """The session that a process is of; 0: it is gone."""
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return 0


def durations(folder: Path) -> dict[str, float]:
    """Seconds of each stage, as MLflow has them."""
    return {r.data.tags["decant.stage"]: (r.info.end_time - r.info.start_time) / 1000 for r in found(folder)
            if "decant.stage" in r.data.tags}  # fmt: skip


def outputs(folder: Path) -> dict[str, Any]:
    """{path: md5} of all outputs."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def found(folder: Path) -> list[Any]:
    """All runs of a project."""
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = mlflow.get_experiment_by_name("decant")
    return list(mlflow.MlflowClient().search_runs([experiment.experiment_id]))


def runs(folder: Path) -> str:
    """`whole`, or what is wrong: one that still runs, a stage that has two, a step that was logged twice."""
    every = found(folder)
    bad = [f"{r.info.run_name} is RUNNING" for r in every if r.info.status == "RUNNING"]
    names = Counter(r.info.run_name for r in every if "mlflow.parentRunId" in r.data.tags)
    bad += [f"{count} runs {name}" for name, count in names.items() if count > 1]
    client = mlflow.MlflowClient()
    for r in every:
        for name in r.data.metrics:
            steps = [m.step for m in client.get_metric_history(r.info.run_id, name)]
            bad += [f"{r.info.run_name}: {name} twice"] if len(set(steps)) < len(steps) else []
    return "; ".join(bad) or "whole"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
