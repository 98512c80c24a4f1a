"""An experiment and variants of its student, over seeds: workspaces under .state/benchmarks/ and the stages in them.

Each seed of a variant has a workspace inside that of the experiment, with the same data and the same teacher. A stage
that has run leaves its config next to its output: it does not run again, and another config is refused.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import sections
import workspaces

from decant.config.compose import Values, composed, flatten
from decant.core.errors import UserError
from decant.core.files import read_json, replacing, write_json
from decant.core.hashing import sha256
from decant.dataset.prepared import PREPARED
from decant.distillation.student_training import TEACHER
from decant.experiment.compatible import check_compatible
from decant.experiment.experiment import Experiment
from decant.models.predictions import FILE

SHARED = ("prepare", "fine_tune")
"""Stages whose output the variants share."""
STUDENT = ("use.student", "use.loss", "student.", "loss.", "distill.", "export.", "evaluate.")
"""Where variants may differ: the keys of the config that start with one of these."""
NO_UNLABELLED = "unlabelled=none"
Cores = SimpleQueue[int | None]
"""CPU cores that are free; None: a stage is not pinned to one."""


@dataclass(frozen=True)
class Variant:
    """A student of an experiment."""

    text: str
    """The variant as the command line names it."""
    name: str
    """A file of conf/experiment/."""
    changes: tuple[str, ...]
    """Overrides of that experiment."""
    labelled_only: bool
    """Whether its students see no unlabelled rows."""

    @classmethod
    def parse(cls, text: str, name: str) -> "Variant":
        """An experiment or changes, joined by commas; commas inside [] or {} do not split.

        `name`: the experiment that is changed if `text` names none.
        """
        parts = split_at_commas(text)
        changes = tuple(part for part in parts if "=" in part and part != NO_UNLABELLED)
        return cls(text, next((part for part in parts if "=" not in part), name), changes, NO_UNLABELLED in parts)


@dataclass(frozen=True)
class Study:
    """An experiment, the first of `variants`, and others that share its data and its teachers."""

    variants: list[Variant]
    common: list[str]
    """Overrides of all variants."""
    seeds: list[int]
    ensemble: bool
    """Whether each student learns from the teachers of all seeds."""
    jobs: int
    """How many seeds run at a time, each on its own core."""

    def check(self) -> None:
        """Refuse, before anything runs, variants that cannot run or that need other data or another teacher.

        Raises:
            UserError: see above.
        """
        independent = replace(self, ensemble=False)  # the teachers of an ensemble do not exist yet
        first = independent.config(self.variants[0], self.seeds[0], "distill")
        for variant in self.variants:
            overrides = independent.overrides(variant, self.seeds[0], "distill")
            experiment = Experiment.load(overrides, sections.ROOT)
            check_compatible(experiment)
            if wrong := [k for k in differences(first, experiment.config) if not k.startswith(STUDENT)]:
                raise UserError(
                    f"{variant.text} shares data and teacher of {self.variants[0].text}, but differs from it in "
                    f"{', '.join(wrong)}; run it as a study of its own, without the +"
                )

    def changes(self, variant: Variant) -> list[str]:
        """What a variant changes of its experiment; seeds that run at the same time have one thread each."""
        return [*self.common, *["trainer.threads=1"] * (self.jobs > 1), *variant.changes]

    def overrides(self, variant: Variant, seed: int, stage: str) -> list[str]:
        """All overrides of params.yaml with which a stage runs."""
        teachers = self.other_teachers(seed) if stage in ("distill", "evaluate") else []
        return workspaces.all_overrides(variant.name, [*self.changes(variant), *teachers, f"seed={seed}"])

    def other_teachers(self, seed: int) -> list[str]:
        """The override that adds the teachers of the other seeds, which fine-tune has written by then."""
        others = [s for s in self.seeds if self.ensemble and s != seed]
        digests = {teacher_link(s): sha256(self.path(s) / TEACHER / FILE) for s in others}
        pairs = ",".join(f"{folder}:'{digest}'" for folder, digest in digests.items())
        return [f"distill.teachers={{{pairs}}}"] if pairs else []

    def config(self, variant: Variant, seed: int, stage: str) -> Values:
        """The config with which a stage runs."""
        return composed(self.overrides(variant, seed, stage), sections.ROOT)

    def title(self, variant: Variant) -> str:
        """The title of a variant's section."""
        options = [*[NO_UNLABELLED] * variant.labelled_only, *["teachers=all"] * self.ensemble]
        return sections.title(variant.name, [*self.changes(variant), *options])

    def path(self, seed: int) -> Path:
        """The workspace of a seed of the experiment itself, which need not exist yet."""
        return workspaces.workspace_path(f"students-{self.title(self.variants[0])}-{seed}")

    def workspace(self, variant: Variant, seed: int) -> Path:
        """The workspace of a seed of a variant, with links to all that it shares."""
        first = self.path(seed)
        if variant == self.variants[0]:
            folder = workspaces.workspace(first.name)
        else:
            folder = workspaces.workspace(f"{first.name}/{re.sub(r'[^a-z0-9_.,=+-]', '_', variant.text)}")
            link(folder / TEACHER, first / TEACHER)
            share_data(folder / PREPARED, first / PREPARED, variant.labelled_only)
        for other in (s for s in self.seeds if self.ensemble and s != seed):
            link(folder / teacher_link(other), self.path(other) / TEACHER)
        return folder

    def run(self, variant: Variant, stages: Iterable[str] = workspaces.STAGES) -> None:
        """Run the stages of a variant that have not run yet, for all seeds.

        evaluate measures time, so it runs for one seed at a time.
        """
        for stage in stages:
            if variant != self.variants[0] and stage in SHARED:
                continue
            jobs = 1 if stage == "evaluate" else self.jobs
            folders = [self.workspace(variant, seed) for seed in self.seeds]
            # students that learn from the teachers of all seeds share one set of data
            seeds = [self.seeds[0]] * len(self.seeds) if self.ensemble and stage == "prepare" else self.seeds
            overrides = [self.overrides(variant, seed, stage) for seed in seeds]
            configs = [composed(o, sections.ROOT) for o in overrides]  # here: Hydra composes in one thread only
            with ThreadPoolExecutor(jobs) as pool:
                list(pool.map(partial(run_once, stage, free_cores(jobs)), folders, overrides, configs))


def split_at_commas(text: str) -> list[str]:
    """The parts between commas that are not inside brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def free_cores(jobs: int) -> Cores:
    """A core for each job; one job uses all cores."""
    cores: Cores = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0))[:jobs] if jobs > 1 else [None]:
        cores.put(core)
    return cores


def run_once(stage: str, cores: Cores, folder: Path, overrides: list[str], config: Values) -> None:
    """Run a stage in a workspace, on one of `cores`, unless it has run.

    Raises:
        UserError: it has run with another config.
    """
    marker = folder / f"{stage}.json"
    if marker.exists():
        check_marker(marker, stage, config)
        return
    core = cores.get()
    try:
        print(f"{folder.name}: {stage}", flush=True)
        workspaces.run_stage(stage, overrides, folder, core)
    finally:
        cores.put(core)
    write_json(marker, config)


def check_marker(marker: Path, stage: str, config: Values) -> None:
    """Refuse the output of a stage that ran with another config; the values of students change no shared stage.

    Raises:
        UserError: with the keys that differ.
    """
    ignored = STUDENT if stage in SHARED else ()
    if different := [key for key in differences(read_json(marker), config) if not key.startswith(ignored)]:
        raise UserError(
            f"{marker} is of another configuration: {', '.join(different)}; remove it, and those of the stages after "
            f"{stage}, to run them again"
        )


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """The dotted keys whose values differ."""
    one, other = dict(flatten(first)), dict(flatten(second))
    return [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]


def share_data(target: Path, source: Path, labelled_only: bool) -> None:
    """Give a workspace the prepared data of another; if `labelled_only`, a copy without the unlabelled rows."""
    if not labelled_only:
        link(target, source)
    elif source.exists() and not target.exists():
        with replacing(target) as folder:
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("unlabelled.parquet"))
            card = read_json(folder / "card.json")
            card["splits"].pop("unlabelled", None)
            write_json(folder / "card.json", card)


def teacher_link(seed: int) -> str:
    """The link to the teacher of another seed, relative to a workspace."""
    return f"data/raw/teacher_{seed}"


def link(path: Path, target: Path) -> None:
    """Create a symbolic link, unless there is one; `target` need not exist yet."""
    if not path.is_symlink():
        path.symlink_to(target)
