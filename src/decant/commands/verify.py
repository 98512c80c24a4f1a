"""Whether anyone can make the committed experiment again: all of it anew, in a fresh clone, with an empty cache.

decant verify [--tolerance 0.01]

Every output is compared with what dvc.lock has committed: byte-equal; equal within the tolerance (no figure in it
differs by more, and no weight or logit by more than that share of the largest beside it); or different. Exit code 0, 3
or 4. How large a difference is can be said where the committed output is at hand (in DVC's cache here, or a remote).
Why bytes may differ is told by comparing this machine with provenance.json, which says where they were made.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
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

PLACE = Path(".state/verify")
EQUAL, CLOSE, DIFFERENT = "byte-equal", "equal within tolerance", "different"
CODES = {EQUAL: 0, CLOSE: 3, DIFFERENT: 4}
COLUMNS = ("output", "is", "largest difference", "in")


def main(words: list[str]) -> None:
    """The command `decant verify`; ends the process with the exit code where something differs.

    Raises:
        UserError: nothing is committed that could be made again, or making it failed.
    """
    configure_libraries()
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("decant verify", description=__doc__, formatter_class=plain)
    parser.add_argument("--tolerance", type=float, default=0.01, help="see above (default: 0.01)")
    own = parser.parse_args(words)
    clone = cloned(Path.cwd(), PLACE.absolute())
    commit = _git(clone, "rev-parse", "HEAD").strip()  # here it may move meanwhile
    committed = outputs(clone)
    made_there = provenance.read(clone)
    again(clone)
    rows = list(compared(clone, commit, committed, outputs(clone), own.tolerance))
    report.terminal().print(report.grid(f"commit {commit[:8]}, made again", COLUMNS, rows))
    equal = [row[0] for row in rows if row[1] == EQUAL]
    print(*reasons(clone, made_there, equal), sep="\n")
    worst = max((CODES[row[1]] for row in rows), default=0)
    if not worst:
        shutil.rmtree(clone)
        return
    print(f"What was made lies in {clone}")
    sys.exit(worst)


def cloned(root: Path, place: Path) -> Path:
    """A fresh clone of what is committed under `root`, whose DVC cache is its own."""
    if subprocess.run(
        ["git", "cat-file", "-e", "HEAD:dvc.lock"], cwd=root, capture_output=True, check=False
    ).returncode:
        raise UserError("no dvc.lock is committed here; run the experiment, and commit what git status shows")
    if changed := _git(root, "diff", "--name-only", "HEAD").split():
        print(f"changed here and not committed, so not verified: {', '.join(changed)}")
    shutil.rmtree(place, ignore_errors=True)
    _git(root, "clone", "--quiet", str(root), str(place))
    subprocess.run(["dvc", "cache", "dir", "--quiet", "--local", ".dvc/cache"], cwd=place, check=True)
    if other := unlike(place):
        raise UserError(
            f"the dvc.lock that is committed was made with other {', '.join(other)} than are committed beside it; run "
            "the experiment (dvc repro), and commit params.yaml, dvc.lock and provenance.json together"
        )
    return place


def unlike(clone: Path) -> list[str]:
    """What of a clone's code, inputs and values is not that of its dvc.lock; outputs are not there yet."""
    words = ["dvc", "status", "--json"]
    found = json.loads(subprocess.run(words, cwd=clone, capture_output=True, text=True, check=True).stdout)
    parts = [part["changed deps"] for stage in found.values() for part in stage if "changed deps" in part]
    values = {
        f"{file}: {key}" for part in parts for file, kind in part.items() if isinstance(kind, dict) for key in kind
    }
    return sorted(values | {file for part in parts for file, kind in part.items() if kind == "modified"})


def again(clone: Path) -> None:
    """Run all stages.

    Raises:
        UserError: one failed; what it said stands above.
    """
    own = ("DECANT_INVOCATION", SEEDS_RUN)
    env = {k: v for k, v in os.environ.items() if k not in own and not k.startswith(("MLFLOW_", "DVC_", "GIT_"))}
    env["PYTHONPATH"] = str(clone / "src")
    if subprocess.run(["dvc", "repro", "--force"], cwd=clone, env=env, check=False).returncode:
        raise UserError(f"the committed experiment does not run in a fresh clone ({clone}); what it said stands above")


def outputs(folder: Path) -> dict[str, str]:
    """{path: md5} of all outputs, as the dvc.lock of a folder has them."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def compared(
    clone: Path, commit: str, before: dict[str, str], after: dict[str, str], tolerance: float
) -> Iterator[list[str]]:
    """A row of `COLUMNS` for each output."""
    for path in sorted(before | after):
        if before.get(path) == after.get(path):
            yield [path, EQUAL, "0", ""]
        elif path not in before or path not in after:
            yield [path, DIFFERENT, "-", "it is not in both"]
        else:
            yield measured(clone, commit, path, tolerance)


def measured(clone: Path, commit: str, path: str, tolerance: float) -> list[str]:
    """The row of an output whose bytes differ."""
    with TemporaryDirectory() as place:
        committed = restored(commit, path, Path(place))
        if committed is None:
            return [path, DIFFERENT, "-", "the committed one is not at hand to be measured by (dvc pull)"]
        found = output_differences.of(committed, clone / path)
    name, most = max(found.items(), key=lambda item: item[1])
    return [path, CLOSE if most <= tolerance else DIFFERENT, f"{most:.2g}", name]


def restored(commit: str, path: str, place: Path) -> Path | None:
    """The committed output, from DVC's cache here or a remote; None: it is in neither."""
    from dvc.api import DVCFileSystem  # takes a second to import
    from dvc.exceptions import DvcException

    try:
        files = DVCFileSystem(rev=commit)
        files.get(path, str(place / Path(path).name), recursive=files.isdir(path))
    except (DvcException, OSError):
        return None
    return place / Path(path).name


def reasons(clone: Path, there: dict[str, dict[str, str]], equal: list[str]) -> list[str]:
    """Why bytes may differ: what is otherwise here than where each stage's output was made.

    `equal`: outputs that are byte-equal; what was written down of them has to be of these bytes.
    """
    here = provenance.environment(Experiment.load([], clone).config["trainer"])
    if not there:
        return ["provenance.json is not committed: where these outputs were made is not known"]
    found: dict[str, list[str]] = {}
    for stage, facts in there.items():
        output = output_path(stage)
        if str(output) in equal and digest(clone / output) != facts["digest"]:
            found.setdefault("- what provenance.json says is of another output", []).append(stage)
        for key in sorted((facts.keys() | here.keys()) - {"digest"}):
            if here.get(key) != facts.get(key):
                what = f"- {key} was {facts.get(key, 'not known')}, and is {here.get(key, 'not known')} here"
                found.setdefault(what, []).append(stage)
    if not found:
        return ["The environment is that in which they were made: processor, threads, precision and versions."]
    return ["Bytes may differ, for the environment does:", *(f"{w} ({', '.join(s)})" for w, s in found.items())]


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout
