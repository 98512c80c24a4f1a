"""An experiment and variants of its student, over seeds: workspaces under .state/benchmarks/ and the stages in them.

A seed of a variant has a workspace of its own inside that of the experiment, with the same data and the same teacher.
A stage that has run keeps its configuration beside its output: it does not run again, and is not taken for another.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import sections
from omegaconf import DictConfig, OmegaConf

from decant.config import compose
from decant.core import resume
from decant.core.errors import UserError
from decant.core.files import read_json, replacing, write_json
from decant.dataset.prepared import PREPARED
from decant.distill import TEACHER
from decant.experiment import compatible

SHARED = ("prepare", "fine_tune")
"""Stages whose output variants share."""
STUDENT = ("use.student", "use.loss", "student.", "loss.", "distill.", "export.", "evaluate.")
"""Where variants may differ."""
BARE = "unlabelled=none"
Cores = SimpleQueue[int | None]


@dataclass(frozen=True)
class Variant:
    """What students of a table have in common."""

    text: str
    """As the command line says it."""
    name: str
    """A file of conf/experiment/."""
    changes: tuple[str, ...]
    """Overrides of it."""
    bare: bool
    """Whether its students see no unlabelled rows."""

    @classmethod
    def parse(cls, text: str, name: str) -> "Variant":
        """A name or changes, joined by commas; those of a list do not count. `name`: what is changed, if none is."""
        words = re.split(r",(?![^\[{]*[\]}])", text)
        changes = tuple(w for w in words if "=" in w and w != BARE)
        return cls(text, next((w for w in words if "=" not in w), name), changes, BARE in words)


@dataclass(frozen=True)
class Study:
    """An experiment, the first of `variants`, and others that share its data and its teachers."""

    variants: list[Variant]
    values: list[str]
    """Overrides of all of them."""
    seeds: list[int]
    ensemble: bool
    """Whether students learn from the teachers of all seeds."""
    jobs: int
    """How many seeds run at a time, each on a core of its own."""

    def check(self) -> None:
        """Nothing, if every variant can be made and shares what is said to be shared.

        Raises:
            UserError: otherwise, before anything runs.
        """
        alone = replace(self, ensemble=False)  # teachers that are still to be made are not looked for
        first = compose.flat(alone.composed(self.variants[0], self.seeds[0]))
        for variant in self.variants:
            cfg = alone.composed(variant, self.seeds[0])
            compatible.check(cfg)
            other = compose.flat(cfg)
            if wrong := [k for k in differing(first, other) if not k.startswith(STUDENT)]:
                raise UserError(
                    f"{variant.text} shares data and teacher of {self.variants[0].text}, but differs from it in "
                    f"{', '.join(wrong)}; name it by itself"
                )

    def changes(self, variant: Variant) -> list[str]:
        """Overrides of its experiment; a seed that shares the machine has one core."""
        return [*self.values, *["trainer.threads=1"] * (self.jobs > 1), *variant.changes]

    def composed(self, variant: Variant, seed: int) -> DictConfig:
        """The configuration of a seed of a variant."""
        return compose.load(self.words(variant, seed, "distill"), sections.ROOT)

    def words(self, variant: Variant, seed: int, stage: str) -> list[str]:
        """It as a stage takes it; before distill the teachers of the other seeds are still to be made."""
        ready = self.ensemble and stage in ("distill", "evaluate")
        others = [f"data/raw/teacher_{other}" for other in self.seeds if other != seed] if ready else []
        teachers = [f"distill.teachers=[{','.join(others)}]"] if others else []
        named = compose.experiment(variant.name, sections.ROOT)
        return [*named, *self.changes(variant), *teachers, f"seed={seed}"]

    def title(self, variant: Variant) -> str:
        """What its section is called."""
        words = [*self.changes(variant), *[BARE] * variant.bare, *["teachers=all"] * self.ensemble]
        return sections.title(variant.name, words)

    def folder(self, variant: Variant, seed: int) -> Path:
        """The workspace of a seed of a variant, with what it shares, where that has been made."""
        first = self.variants[0]
        name = f"students-{self.title(first)}-{seed}"
        if variant == first:
            folder = sections.workspace(name)
        else:
            folder = sections.workspace(f"{name}/{re.sub(r'[^a-z0-9_.,=+-]', '_', variant.text)}")
            link(folder / TEACHER, self.folder(first, seed) / TEACHER)
            share(folder / PREPARED, self.folder(first, seed) / PREPARED, variant.bare)
        for other in (s for s in self.seeds if self.ensemble and s != seed):
            whole = sections.place(f"students-{self.title(first)}-{other}")
            link(folder / f"data/raw/teacher_{other}", whole / TEACHER)
        return folder

    def make(self, variant: Variant, stages: Iterable[str] = resume.READS) -> None:
        """Run what is missing of it for all seeds; evaluate, which measures time, one seed after the other."""
        for stage in stages:
            if variant != self.variants[0] and stage in SHARED:
                continue
            jobs = 1 if stage == "evaluate" else self.jobs
            cores: Cores = SimpleQueue()
            for core in sorted(os.sched_getaffinity(0))[:jobs] if jobs > 1 else [None]:
                cores.put(core)
            folders = [self.folder(variant, seed) for seed in self.seeds]
            # students that learn from the teachers of all seeds have one set of data
            drawn = [self.seeds[0] if self.ensemble and stage == "prepare" else seed for seed in self.seeds]
            words = [self.words(variant, seed, stage) for seed in drawn]
            whole = [compose.load(w, sections.ROOT) for w in words]  # here, for Hydra composes in one thread alone
            with ThreadPoolExecutor(jobs) as pool:
                list(pool.map(partial(once, stage, cores), folders, words, whole))


def once(stage: str, cores: Cores, folder: Path, words: list[str], cfg: DictConfig) -> None:
    """Run a stage in a workspace, on one of `cores`, unless it has run.

    Raises:
        UserError: it has run with another configuration.
    """
    marker = folder / f"{stage}.yaml"
    if marker.exists():
        found = differing(compose.flat(OmegaConf.load(marker)), compose.flat(cfg))
        if stage in SHARED:
            found = [key for key in found if not key.startswith(STUDENT)]
        if found:
            raise UserError(
                f"{marker} is of another configuration: {', '.join(found)}; remove it, and those of the stages after "
                f"{stage}, to make them again"
            )
        return
    core = cores.get()
    try:
        print(f"{folder.name}: {stage}", flush=True)
        env = {**os.environ, "DECANT_INVOCATION": f"{folder.name} {os.getpid()}"}
        pinned = ["taskset", "--cpu-list", str(core)] if core is not None else []
        subprocess.run([*pinned, sys.executable, "-m", f"decant.{stage}", *words], cwd=folder, env=env, check=True)
    finally:
        cores.put(core)
    OmegaConf.save(cfg, marker)


def differing(one: dict[str, object], other: dict[str, object]) -> list[str]:
    """The keys whose values differ."""
    return [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]


def share(mine: Path, whole: Path, bare: bool) -> None:
    """Let a workspace have the data of another, without its unlabelled rows if it is `bare`."""
    if not bare:
        link(mine, whole)
    elif whole.exists() and not mine.exists():
        with replacing(mine) as folder:
            shutil.copytree(whole, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("unlabelled.parquet"))
            card = read_json(folder / "card.json")
            card["splits"].pop("unlabelled", None)
            write_json(folder / "card.json", card)


def link(mine: Path, whole: Path) -> None:
    """A link to what is, or will be, there."""
    if not mine.is_symlink():
        mine.symlink_to(whole)
