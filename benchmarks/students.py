"""Students beside their teacher and beside themselves alone, over seeds, written to benchmarks/students.md.

DECANT_DATA=<folder> DECANT_WEIGHTS=<folder> python benchmarks/students.py name[+variant ...] [seeds=0,1,2,3,4]
    [teachers=all] [jobs=1] [key=value ...]

`name` is a file of conf/experiment/. A variant shares its data and its teacher, and what differs begins with the
student: it is the name of another file, or changes to the first one, joined by commas, such as use.loss=dkd; among them
unlabelled=none, which trains students on train alone. With teachers=all each student learns from the teachers of all
seeds together; then they share the data of the first seed. With jobs=2 two seeds run at a time, each on a core of its
own; evaluate, which measures time, runs alone. Stages that have run do not run again (see study.py).
"""

import re
import statistics
import sys
from typing import Any

import numpy as np
import sections
from study import Study, Variant

from decant.config import compose
from decant.core.errors import UserError
from decant.core.stage import quiet
from decant.dataset.prepared import PREPARED, read_prepared
from decant.distill import TEACHER
from decant.evaluation import report
from decant.evaluation.report import markdown_table
from decant.evaluation.roles import titles
from decant.models.predictions import read_split
from decant.task import Task

OWN = ("seeds", "teachers", "jobs")
"""Words that are no overrides of the configuration."""
COLUMNS = ("model", "parameters", "MB", "x smaller", "x faster", "retained %", "lowest end of its intervals")
Result = tuple[dict[str, Any], dict[str, Any]]


def main(words: list[str]) -> None:
    """Make each study that the command line names: run what is missing, and write a section for each variant.

    Raises:
        UserError: one that cannot be made, before anything runs.
    """
    quiet()
    studies = [asked(word, words) for word in words if "=" not in word.partition("+")[0]]
    if not studies:
        raise UserError("no experiment is named, expected a file of conf/experiment/, such as support")
    for study in studies:
        study.check()
    for study in studies:
        for variant in study.variants:
            study.make(variant)
            sections.write("students.md", study.title(variant), section(variant, study))


def asked(name: str, words: list[str]) -> Study:
    """One study of a command line."""
    values = [word for word in words if "=" in word.partition("+")[0]]
    own = {k: v for k, _, v in (word.partition("=") for word in values) if k in OWN}
    values = [word for word in values if word.partition("=")[0] not in own]
    if own.get("teachers", "all") != "all":
        raise UserError(f"teachers={own['teachers']}, expected teachers=all, or nothing: each seed its own")
    seeds = own.get("seeds", "0,1,2,3,4")
    if not re.fullmatch(r"\d+(,\d+)*", seeds) or any(word.startswith("seed=") for word in values):
        raise UserError(f"seeds={seeds}, expected numbers joined by commas, and no seed=")
    first, *others = name.split("+")
    return Study(
        variants=[Variant.parse(text, first) for text in (first, *others)],
        values=values,
        seeds=[int(seed) for seed in seeds.split(",")],
        ensemble="teachers" in own,
        jobs=int(own.get("jobs", 1)),
    )


def section(variant: Variant, study: Study) -> str:
    """The table of one variant."""
    found = [report.read(study.folder(variant, seed) / report.OUT) for seed in study.seeds]
    metrics = found[0][0]
    head = metrics["report"]["primary_metric"]
    title = dict(metrics["report"]["columns"])[head]
    rows = [row(role, words, head, found) for role, words in titles(metrics).items()]
    shares = closed(found)
    lines = [
        f"`python benchmarks/students.py {command(study)}`",
        "",
        f"conf/experiment/{variant.name}.yaml, "
        + (f"seeds {', '.join(map(str, study.seeds))}; mean and standard deviation." if found[1:] else "one seed."),
        together(study, title) if study.ensemble else "Each seed has data, teacher, student and controls of its own.",
        *(["Without the unlabelled rows."] if variant.bare else []),
        sections.machine(study.changes(variant)),
        "Smaller, faster: than the teacher in fp32 PyTorch; p50 of one input at a time, taking turns; median of seeds.",
        f"Retained: of the teacher of the same seed; the lowest of the lower ends of the seeds' paired "
        f"{metrics['report']['confidence']:.0%} intervals.",
        f"Gap between student alone and teacher: {len(shares)} of {len(found)} seeds have one"
        + (f", of which the student closes {100 * statistics.mean(shares):.0f} % on average." if shares else "."),
        "",
        markdown_table((COLUMNS[0], title, "each", *COLUMNS[1:]), rows),
    ]
    return "\n".join(lines)


def command(study: Study) -> str:
    """The words that `asked` makes this of."""
    words = ["+".join(variant.text for variant in study.variants), f"seeds={','.join(map(str, study.seeds))}"]
    words += ["teachers=all"] * study.ensemble
    return " ".join([*words, f"jobs={study.jobs}", *study.values])


def together(study: Study, title: str) -> str:
    """What students learned from, where it is the teachers of all seeds."""
    first = study.variants[0]
    task: Task = compose.piece(study.composed(first, study.seeds[0]), "task")
    folders = [study.folder(first, seed) for seed in study.seeds]
    prepared = read_prepared(folders[0] / PREPARED)
    logits = np.stack([read_split(folder / TEACHER, "test", prepared) for folder in folders])
    target = np.stack(prepared.frames["test"]["target"].to_list())
    score = task.scoring.score(task.objective.ensemble(logits), target)
    return (
        "Each student learned from the teachers of all seeds together, on the same data, so the spread is that of "
        f"training alone; these teachers together: {title} {100 * score:.2f}."
    )


def closed(found: list[Result]) -> list[float]:
    """The share of the gap between alone and teacher that the student closes, of each seed that has a gap."""
    shares = [m.get("gap", {}).get("student", {}).get("closed") for m, _ in found]
    return [share for share in shares if share is not None]


def row(role: str, words: str, head: str, found: list[Result]) -> list[str]:
    """A model over the seeds."""
    scores = [100 * m[role][head] for m, _ in found]
    smaller = [m["teacher"]["size_mb"] / m[role]["size_mb"] for m, _ in found]
    faster = [t["teacher"]["latency_ms_p50"] / t[role]["latency_ms_p50"] for _, t in found]
    pairs = [m["compare"].get(f"{role}_teacher") for m, _ in found]
    kept, lows = ([100 * p[k] for p in pairs if p and p[k] is not None] for k in ("retained", "retained_low"))
    return [
        words,
        around(scores),
        ", ".join(f"{s:.1f}" for s in scores),
        f"{found[0][0][role]['parameters']:,}",
        f"{statistics.median(m[role]['size_mb'] for m, _ in found):.2f}",
        f"{statistics.median(smaller):.1f}",
        f"{statistics.median(faster):.1f}",
        around(kept) if kept else "",
        f"{min(lows):.1f}" if lows else "",
    ]


def around(values: list[float]) -> str:
    """Mean and standard deviation."""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit("\n".join(error.problems))
