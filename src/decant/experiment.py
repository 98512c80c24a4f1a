"""`make experiment`: `dvc exp run`, then the result, also when DVC took all of it from its cache.

python -m decant.experiment [arguments of dvc exp run]
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import mlflow

from decant import UserError, config, report, run, store, tracking

EVALUATED = Path("data/evaluate")


def main(arguments: list[str]) -> int:
    """Run, and show what came out; the exit code is DVC's."""
    config.load()  # a misspelt key or piece is told before anything runs
    os.environ["DECANT_INVOCATION"] = f"{os.getpid()} {time.time()}"
    code = subprocess.run(["dvc", "exp", "run", *arguments], check=False).returncode
    cfg = config.load()  # what -S made of it; where DVC failed, it may say why
    if code or {"--queue", "--temp", "--dry", "--run-all"} & set(arguments):
        return code
    if not made_now():
        print("Nothing had to run: this result was made before, and is restored.")
        with tracking.parent(cfg) as whole:
            restore_timings()
            metrics, timings = (run.read_json(EVALUATED / f) for f in ("metrics.json", "latency.json"))
            whole.metrics(report.headline(metrics, timings))
        report.table(metrics, timings)
    return code


def made_now() -> bool:
    """Whether evaluate ran, and so showed the result itself."""
    store.connect()
    key = os.environ["DECANT_INVOCATION"]
    return bool(store.find(f"tags.`decant.invocation` = '{key}' and metrics.`student/accuracy` >= 0"))


def restore_timings() -> None:
    """Bring back latency.json and report.md, which DVC does not keep, from the run that made metrics.json.

    Raises:
        UserError: no such run in this store.
    """
    made = tracking.made_by("evaluate")
    if made is None:
        raise UserError(
            "data/evaluate/metrics.json is restored, but no MLflow run of this store made it, so its timings are "
            "not known here; measure them with: dvc repro --force --single-item evaluate"
        )
    for name in ("latency.json", "report.md"):
        mlflow.MlflowClient().download_artifacts(made.info.run_id, name, str(EVALUATED))


if __name__ == "__main__":
    run.quiet()
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        sys.exit("\n".join(f"decant: {problem}" for problem in error.problems))
