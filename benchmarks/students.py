"""Students, their teachers and controls over seeds, written to benchmarks/students.md.

DECANT_DATA=<folder> DECANT_WEIGHTS=<folder> python benchmarks/students.py <experiment>[+<variant> ...]
    [seeds=0,1,2,3,4] [teachers=all] [jobs=1] [key=value ...]

An experiment is a file of conf/experiment/. A variant shares its data and its teacher and differs in its student: it is
another file, or changes to the experiment, joined by commas, such as use.loss=dkd. The change unlabelled=none trains
students on the labelled rows only.

With teachers=all each student learns from the teachers of all seeds, and all seeds share the data of the first one.
With jobs=2 two seeds run at a time, each on its own core; evaluate, which measures time, runs alone. Stages that have
run do not run again (see study.py).
"""

import re
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sections
import workspaces
from study import Study, Variant

from decant.core.errors import UserError
from decant.dataset.prepared import PREPARED, read_prepared
from decant.distillation.student_training import TEACHER
from decant.evaluation import report
from decant.evaluation.roles import Metrics, Timings, comparison, titles
from decant.models.predictions import read_split

OPTIONS = ("seeds", "teachers", "jobs")
"""Arguments that are no overrides of the config."""
COSTS = ("parameters", "MB", "x smaller", "x faster", "retained %", "lowest lower bound")
"""The columns after those of the metric."""
INDEPENDENT = "Each seed has its own data, teacher, student and controls."


class Result(NamedTuple):
    """What evaluate wrote for one seed."""

    metrics: Metrics
    timings: Timings


def main(arguments: list[str]) -> None:
    """Run what is missing of each study on the command line, and write a section for each variant.

    Raises:
        UserError: a study that cannot run, before anything runs.
    """
    names = [word for word in arguments if not is_value(word)]
    if not names:
        raise UserError("no experiment is named, expected a file of conf/experiment/, such as default")
    studies = [parse_study(name, [word for word in arguments if is_value(word)]) for name in names]
    for study in studies:
        study.check()
    for study in studies:
        for variant in study.variants:
            study.run(variant)
            sections.write("students.md", study.title(variant), section(variant, study))


def is_value(argument: str) -> bool:
    """Whether an argument is of the form key=value; an experiment may have variants that contain a =."""
    return "=" in argument.partition("+")[0]


def parse_study(name: str, values: Sequence[str]) -> Study:
    """One study of a command line.

    Raises:
        UserError: an option has a value that it does not take.
    """
    options, overrides = sections.split_options(values, OPTIONS)
    if options.get("teachers", "all") != "all":
        raise UserError(f"teachers={options['teachers']}, expected teachers=all, or none: each seed has its own")
    seeds = options.get("seeds", "0,1,2,3,4")
    if not re.fullmatch(r"\d+(,\d+)*", seeds) or any(value.startswith("seed=") for value in overrides):
        raise UserError(f"seeds={seeds}, expected numbers joined by commas, and no seed=")
    first, *others = name.split("+")
    return Study(
        variants=[Variant.parse(text, first) for text in (first, *others)],
        common=overrides,
        seeds=[int(seed) for seed in seeds.split(",")],
        ensemble="teachers" in options,
        jobs=sections.number(options, "jobs", 1),
    )


def section(variant: Variant, study: Study) -> list[str]:
    """The lines of one variant: its command, its table, and how it was measured."""
    results = [Result(*report.read(study.workspace(variant, seed) / report.OUT)) for seed in study.seeds]
    metrics = results[0].metrics
    metric, confidence = metrics["report"]["primary_metric"], metrics["report"]["confidence"]
    title = dict(metrics["report"]["columns"])[metric]
    rows = [row(role, name, metric, results) for role, name in titles(metrics).items()]
    seeds = f"seeds {', '.join(map(str, study.seeds))}; mean and standard deviation" if results[1:] else "one seed"
    return [
        f"`python benchmarks/students.py {command(study)}`",
        "",
        f"conf/experiment/{variant.name}.yaml, {seeds}.",
        describe_ensemble(study, title) if study.ensemble else INDEPENDENT,
        *(["Without the unlabelled rows."] if variant.labelled_only else []),
        sections.machine(study.changes(variant)),
        "Smaller, faster: than the teacher in fp32 PyTorch; p50 of one input at a time, taking turns; median of seeds.",
        f"Retained: of the teacher of the same seed; the lowest lower bound of the paired {confidence:.0%} intervals.",
        describe_gap(results),
        "",
        report.markdown_table(["model", title, "each seed", *COSTS], rows),
    ]


def command(study: Study) -> str:
    """The arguments that `parse_study` makes this study of."""
    arguments = ["+".join(variant.text for variant in study.variants), f"seeds={','.join(map(str, study.seeds))}"]
    arguments += ["teachers=all"] * study.ensemble
    return " ".join([*arguments, f"jobs={study.jobs}", *study.common])


def describe_ensemble(study: Study, title: str) -> str:
    """What students learned from, and the score of the teachers of all seeds together."""
    experiment = workspaces.load(study.variants[0].name, study.changes(study.variants[0]))
    folders = [study.path(seed) for seed in study.seeds]
    prepared = read_prepared(folders[0] / PREPARED)
    logits = np.stack([read_split(folder / TEACHER, "test", prepared) for folder in folders])
    ensemble = experiment.task.objective.ensemble(logits)
    score = experiment.task.scoring.score(ensemble, workspaces.test_targets(prepared))
    return (
        "Each student learned from the teachers of all seeds together, on the same data, so the spread is that of "
        f"training alone; these teachers together: {title} {100 * score:.2f}."
    )


def describe_gap(results: Sequence[Result]) -> str:
    """How much of the gap between the student alone and the teacher the student closes."""
    shares = gap_shares(results)
    closed = f", of which the student closes {100 * statistics.mean(shares):.0f} % on average" if shares else ""
    return f"Gap between student alone and teacher: {len(shares)} of {len(results)} seeds have one{closed}."


def gap_shares(results: Sequence[Result]) -> list[float]:
    """The share of the gap that the student closes, of each seed that has a gap."""
    shares = [result.metrics.get("gap", {}).get("student", {}).get("closed") for result in results]
    return [share for share in shares if share is not None]


def row(role: str, title: str, metric: str, results: Sequence[Result]) -> list[str]:
    """The cells of one model over the seeds: title, metric, each seed, COSTS."""
    scores = [100 * r.metrics[role][metric] for r in results]
    smaller = [r.metrics["teacher"]["size_mb"] / r.metrics[role]["size_mb"] for r in results]
    faster = [r.timings["teacher"]["latency_ms_p50"] / r.timings[role]["latency_ms_p50"] for r in results]
    retained, bounds = (compared_with_teacher(role, key, results) for key in ("retained", "retained_low"))
    return [
        title,
        sections.mean_and_std(scores),
        ", ".join(f"{score:.1f}" for score in scores),
        f"{results[0].metrics[role]['parameters']:,}",
        f"{statistics.median(r.metrics[role]['size_mb'] for r in results):.2f}",
        f"{statistics.median(smaller):.1f}",
        f"{statistics.median(faster):.1f}",
        sections.mean_and_std(retained) if retained else "",
        f"{min(bounds):.1f}" if bounds else "",
    ]


def compared_with_teacher(role: str, key: str, results: Sequence[Result]) -> list[float]:
    """A value of the comparison of a model with the teacher, times 100, of each seed that has it."""
    compared = [r.metrics["compare"].get(comparison(role, "teacher"), {}).get(key) for r in results]
    return [100 * value for value in compared if value is not None]


if __name__ == "__main__":
    sections.run(main, __doc__)
