"""`decant verify`: reproduces the committed experiment in a fresh clone with an empty cache, and compares the outputs.

Every output is compared with what dvc.lock has committed: byte-equal; equal within the tolerance (no number differs by
more, and no weight or logit by more than that share of the largest in its array); or different. The exit code is 0, 3
or 4. The size of a difference is known if the committed output is in DVC's cache here, or in a remote. Reasons are
found by comparing this machine with provenance.json, which records where the outputs were made.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from decant.commands import output_differences
from decant.core.errors import UserError
from decant.core.hashing import digest
from decant.core.stage import configure_libraries
from decant.evaluation import report
from decant.experiment.experiment import Experiment
from decant.tracking import provenance
from decant.tracking.outputs import output_path
from decant.tracking.runs import SEEDS_RUN

CLONE = Path(".state/verify")
EQUAL, CLOSE, DIFFERENT = "byte-equal", "equal within tolerance", "different"
EXIT_CODES = {EQUAL: 0, CLOSE: 3, DIFFERENT: 4}
COLUMNS = ("output", "is", "largest difference", "in")
INVOCATION_VARIABLES = ("DECANT_INVOCATION", SEEDS_RUN)


def run(tolerance: float) -> int:
    """Reproduce the committed experiment and print the comparison; the exit code is that of the worst output.

    Raises:
        UserError: nothing is committed that can be reproduced, or it does not run.
    """
    configure_libraries()
    clone = clone_project(Path.cwd(), CLONE.absolute())
    commit = _git(clone, "rev-parse", "HEAD").strip()  # in this folder it may move meanwhile
    committed = outputs(clone)
    recorded = provenance.read(clone)
    reproduce(clone)
    rows = list(compare_outputs(clone, commit, committed, outputs(clone), tolerance))
    report.terminal().print(report.grid(f"commit {commit[:8]}, reproduced", COLUMNS, rows))
    byte_equal = [row[0] for row in rows if row[1] == EQUAL]
    print(*explain(clone, recorded, byte_equal), sep="\n")
    worst = max((EXIT_CODES[row[1]] for row in rows), default=0)
    if worst:
        print(f"The reproduced outputs are in {clone}")
    else:
        shutil.rmtree(clone)
    return worst


def clone_project(root: Path, target: Path) -> Path:
    """A fresh clone of the commit of `root`, with a DVC cache of its own.

    Raises:
        UserError: no dvc.lock is committed, or the committed one belongs to other code or values.
    """
    if subprocess.run(
        ["git", "cat-file", "-e", "HEAD:dvc.lock"], cwd=root, capture_output=True, check=False
    ).returncode:
        raise UserError("no dvc.lock is committed here; run the experiment, and commit what git status shows")
    if changed := _git(root, "diff", "--name-only", "HEAD").split():
        print(f"changed here and not committed, so not verified: {', '.join(changed)}")
    shutil.rmtree(target, ignore_errors=True)
    _git(root, "clone", "--quiet", str(root), str(target))
    subprocess.run(["dvc", "cache", "dir", "--quiet", "--local", ".dvc/cache"], cwd=target, check=True)
    if outdated := outdated_dependencies(target):
        raise UserError(
            f"the committed dvc.lock was made with other {', '.join(outdated)} than are committed with it; run "
            "the experiment (dvc repro), and commit params.yaml, dvc.lock and provenance.json together"
        )
    return target


def outdated_dependencies(clone: Path) -> list[str]:
    """The code, inputs and values of a clone that differ from its dvc.lock; its outputs do not exist yet."""
    command = ["dvc", "status", "--json"]
    status = json.loads(subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout)
    changes = [part["changed deps"] for stage in status.values() for part in stage if "changed deps" in part]
    values = {
        f"{file}: {key}" for part in changes for file, keys in part.items() if isinstance(keys, dict) for key in keys
    }
    return sorted(values | {file for part in changes for file, change in part.items() if change == "modified"})


def reproduce(clone: Path) -> None:
    """Run all stages.

    Raises:
        UserError: one failed; its message is printed before.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in INVOCATION_VARIABLES and not name.startswith(("MLFLOW_", "DVC_", "GIT_"))
    }
    env["PYTHONPATH"] = str(clone / "src")
    if subprocess.run(["dvc", "repro", "--force"], cwd=clone, env=env, check=False).returncode:
        raise UserError(f"the committed experiment does not run in a fresh clone ({clone}); see the messages above")


def outputs(folder: Path) -> dict[str, str]:
    """{path: md5} of all outputs in the dvc.lock of a folder."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def compare_outputs(
    clone: Path, commit: str, committed: Mapping[str, str], reproduced: Mapping[str, str], tolerance: float
) -> Iterator[list[str]]:
    """The cells under `COLUMNS` for each output."""
    for path in sorted(committed.keys() | reproduced.keys()):
        if committed.get(path) == reproduced.get(path):
            yield [path, EQUAL, "0", ""]
        elif path not in committed or path not in reproduced:
            yield [path, DIFFERENT, "-", "it is not in both"]
        else:
            yield measure(clone, commit, path, tolerance)


def measure(clone: Path, commit: str, path: str, tolerance: float) -> list[str]:
    """The cells for an output whose bytes differ."""
    with TemporaryDirectory() as folder:
        committed = restore(commit, path, Path(folder))
        if committed is None:
            return [path, DIFFERENT, "-", "the committed output is not in DVC's cache, so not measured (dvc pull)"]
        differences = output_differences.by_file(committed, clone / path)
    file, largest = max(differences.items(), key=lambda item: item[1])
    return [path, CLOSE if largest <= tolerance else DIFFERENT, f"{largest:.2g}", file]


def restore(commit: str, path: str, folder: Path) -> Path | None:
    """A copy of a committed output, from DVC's cache in this project or a remote; None: neither has it."""
    from dvc.api import DVCFileSystem  # slow to import
    from dvc.exceptions import DvcException
    from dvc_data.index import DataIndexDirError

    try:
        files = DVCFileSystem(rev=commit)
        files.get(path, str(folder / Path(path).name), recursive=files.isdir(path))
    except (DvcException, DataIndexDirError, OSError):
        return None
    return folder / Path(path).name


def explain(clone: Path, recorded: Mapping[str, Mapping[str, str]], byte_equal: list[str]) -> list[str]:
    """Why bytes may differ: how this environment differs from those where the outputs were made.

    Args:
        clone: the reproduced project.
        recorded: by stage, its entry in the committed provenance.json.
        byte_equal: outputs that are byte-equal; the entry of such an output has to be about these bytes.
    """
    if not recorded:
        return ["provenance.json is not committed: where these outputs were made is not known"]
    here = provenance.environment(Experiment.load([], clone).config["trainer"])
    reasons: dict[str, list[str]] = {}
    for stage, facts in recorded.items():
        output = output_path(stage)
        if str(output) in byte_equal and digest(clone / output) != facts["digest"]:
            reasons.setdefault("- provenance.json describes another output", []).append(stage)
        for key in sorted((facts.keys() | here.keys()) - {"digest"}):
            if here.get(key) != facts.get(key):
                reason = f"- {key} was {facts.get(key, 'not known')}, and is {here.get(key, 'not known')} here"
                reasons.setdefault(reason, []).append(stage)
    if not reasons:
        return ["The environment is the one in which they were made: processor, threads, precision and versions."]
    lines = (f"{reason} ({', '.join(stages)})" for reason, stages in reasons.items())
    return ["Bytes may differ because the environments do:", *lines]


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout
