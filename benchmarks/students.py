"""Students beside their teacher and beside themselves alone, over seeds, written to benchmarks/students.md.

DECANT_DATA=<folder> DECANT_WEIGHTS=<folder> python benchmarks/students.py name[+variant ...] [seeds=0,1,2,3,4]
    [teachers=all] [jobs=1] [key=value ...]

`name` is a file of conf/experiment/. A variant shares its teacher, and what differs begins with the student: it is the
name of another file, or changes to the first one, joined by commas, such as use.loss=dkd; among them unlabelled=none,
which trains students on train alone. Each seed runs the whole pipeline in a workspace of its own under
.state/benchmarks/; stages that have run there do not run again. With teachers=all each student learns from the teachers
of all seeds together; then they share the data of the first seed. With jobs=2 two seeds run at a time, each on a core
of its own; evaluate, which measures time, runs alone.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import sections

from decant import config, report, run, tracking
from decant.distill import TEACHER
from decant.report import pipes

SHARED = ("prepare", "fine_tune")
"""Stages whose output students share."""
OWN = ("seeds", "teachers", "jobs")
"""Words that are no overrides of the configuration."""
BARE = "unlabelled=none"
COLUMNS = ("model", "parameters", "MB", "x smaller", "x faster", "retained %", "lowest end of its intervals")
Result = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class Study:
    """An experiment and its variants, which share their teachers."""

    name: str
    variants: list[str]
    values: list[str]
    seeds: list[int]
    shared: bool
    """Whether students learn from the teachers of all seeds."""
    jobs: int

    def main(self) -> None:
        """Run what is missing and write a section for each variant."""
        for variant in (self.name, *self.variants):
            for stage in tracking.STAGES:
                if variant == self.name or stage not in SHARED:
                    self.stage(variant, stage)
            text = section(variant, self, [report.read(self.folder(seed) / variant) for seed in self.seeds])
            sections.write("students.md", self.title(variant), text)

    def title(self, variant: str) -> str:
        """What a section and, for the first one, a workspace is called."""
        name, changes = self.parts(variant)
        bare = [BARE] if BARE in variant else []
        return sections.title(name, [*self.values, *changes, *bare, *(["teachers=all"] if self.shared else [])])

    def parts(self, variant: str) -> tuple[str, list[str]]:
        """The experiment of a variant and what it changes."""
        words = variant.split(",")
        name = next((w for w in words if "=" not in w), self.name)
        return name, [w for w in words if "=" in w and w != BARE]

    def folder(self, seed: int) -> Path:
        """The workspace of a seed."""
        return sections.workspace(f"students-{self.title(self.name)}-{seed}")

    def stage(self, variant: str, stage: str) -> None:
        """Run a stage for all seeds."""
        jobs = 1 if stage == "evaluate" else self.jobs
        cores: SimpleQueue[int | None] = SimpleQueue()
        for core in sorted(os.sched_getaffinity(0))[:jobs] if jobs > 1 else [None]:
            cores.put(core)
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(partial(self.one, variant, stage, cores), self.seeds))

    def one(self, variant: str, stage: str, cores: "SimpleQueue[int | None]", seed: int) -> None:
        """Run a stage for a seed, on one of `cores`, unless it has run."""
        folder = self.folder(seed)
        done = folder / f"{variant}.{stage}"
        if done.exists():
            return
        core = cores.get()
        try:
            with without_unlabelled(folder) if BARE in variant else nullcontext():
                execute(stage, self.words(variant, stage, seed), folder, core)
        finally:
            cores.put(core)
        if stage == "evaluate":
            (folder / report.OUT).rename(folder / variant)
        done.touch()

    def words(self, variant: str, stage: str, seed: int) -> list[str]:
        """The configuration of a stage."""
        name, changes = self.parts(variant)
        of_all = []
        if self.shared and stage == "distill":
            others = [self.linked(seed, other) for other in self.seeds if other != seed]
            of_all = [f"distill.teachers=[{','.join(others)}]"]
        drawn = self.seeds[0] if self.shared and stage == "prepare" else seed
        return [*config.experiment(name, sections.ROOT), *self.values, *changes, *of_all, f"seed={drawn}"]

    def linked(self, seed: int, other: int) -> str:
        """The teacher of another seed, where the experiment of `seed` may read it."""
        link = self.folder(seed) / f"data/raw/teacher_{other}"
        if not link.is_symlink():
            link.symlink_to(self.folder(other) / TEACHER)
        return f"data/raw/{link.name}"


def main(words: list[str]) -> None:
    """Make each study that the command line names."""
    run.quiet()
    studies = [word for word in words if "=" not in word.partition("+")[0]]
    values = [word for word in words if word not in studies]
    own = {k: v for k, _, v in (word.partition("=") for word in values) if k in OWN}
    values = [word for word in values if word.partition("=")[0] not in own]
    seeds = [int(seed) for seed in own.get("seeds", "0,1,2,3,4").split(",")]
    jobs = int(own.get("jobs", 1))
    if jobs > 1:
        values.append("trainer.threads=1")
    for study in studies:
        name, *variants = study.split("+")
        Study(name, variants, values, seeds, own.get("teachers") == "all", jobs).main()


@contextmanager
def without_unlabelled(folder: Path) -> Iterator[None]:
    """A workspace in which `prepare` has made no unlabelled rows."""
    card = folder / "data/prepare/card.json"
    whole = run.read_json(card)
    run.write_json(card, whole | {"splits": {s: v for s, v in whole["splits"].items() if s != "unlabelled"}})
    try:
        yield
    finally:
        run.write_json(card, whole)


def execute(stage: str, words: list[str], folder: Path, core: int | None) -> None:
    """Run a stage, on one core if one is named."""
    print(f"{folder.name}: {stage}", flush=True)
    env = {**os.environ, "DECANT_INVOCATION": f"{folder.name} {os.getpid()}"}
    pinned = ["taskset", "--cpu-list", str(core)] if core is not None else []
    subprocess.run([*pinned, sys.executable, "-m", f"decant.{stage}", *words], cwd=folder, env=env, check=True)


def section(variant: str, study: Study, found: list[Result]) -> str:
    """The table of one experiment."""
    name, changes = study.parts(variant)
    metrics = found[0][0]
    head = metrics["figures"]["headline"]
    title = dict(metrics["figures"]["columns"])[head]
    rows = [row(role, words, head, found) for role, words in report.titles(metrics).items()]
    closed = [m["gap"]["student"]["closed"] for m, _ in found if m.get("gap", {}).get("student", {}).get("closed")]
    lines = [
        f"conf/experiment/{name}.yaml, seeds {', '.join(map(str, study.seeds))}: each its own teacher, student and "
        "controls; mean and standard deviation over seeds.",
        *(["Each student learned from the teachers of all seeds together, on the same data."] if study.shared else []),
        *(["Without the unlabelled rows."] if BARE in variant else []),
        sections.machine([*study.values, *changes]),
        "Smaller, faster: than the teacher in fp32 PyTorch; p50 of one input at a time, taking turns; median of seeds.",
        f"Retained: of the teacher of the same seed; the lowest of the lower ends of the seeds' paired "
        f"{metrics['figures']['confidence']:.0%} intervals.",
        f"Gap between student alone and teacher: {len(closed)} of {len(found)} seeds have one"
        + (f", of which the student closes {100 * statistics.mean(closed):.0f} % on average." if closed else "."),
        "",
        *pipes((COLUMNS[0], title, "each", *COLUMNS[1:]), rows),
    ]
    return "\n".join(lines)


def row(role: str, words: str, head: str, found: list[Result]) -> list[str]:
    """A model over the seeds."""
    scores = [100 * m[role][head] for m, _ in found]
    smaller = [m["teacher"]["size_mb"] / m[role]["size_mb"] for m, _ in found]
    faster = [t["teacher"]["latency_ms_p50"] / t[role]["latency_ms_p50"] for _, t in found]
    pairs = [m["compare"].get(f"{role}_teacher") for m, _ in found]
    kept = [100 * p["retained"] for p in pairs if p]
    return [
        words,
        around(scores),
        ", ".join(f"{s:.1f}" for s in scores),
        f"{found[0][0][role]['parameters']:,}",
        f"{statistics.median(m[role]['size_mb'] for m, _ in found):.2f}",
        f"{statistics.median(smaller):.1f}",
        f"{statistics.median(faster):.1f}",
        around(kept) if kept else "",
        f"{min(100 * p['retained_low'] for p in pairs if p):.1f}" if kept else "",
    ]


def around(values: list[float]) -> str:
    """Mean and standard deviation."""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


if __name__ == "__main__":
    main(sys.argv[1:])
