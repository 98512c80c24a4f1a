"""DVC's cache and the outputs of stages, against the md5 that dvc.lock holds of every file.

DVC trusts its cache: it restores and pushes a damaged object, does not replace it when a stage writes the output again,
and takes the restored file for unchanged. So damaged objects and outputs are put away: what is missing, DVC restores.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from dvc.exceptions import DvcException

from decant.commands.checks.finding import HEAL, Finding, quarantine
from decant.core import valid_copies
from decant.core.errors import UserError
from decant.core.hashing import md5


@dataclass(frozen=True)
class Output:
    """An output in dvc.lock."""

    stage: str
    path: Path
    md5: str
    """Of the file; of a folder: of its listing, with the suffix .dir."""
    cache: Path

    @property
    def listing(self) -> Path | None:
        """The cached listing of a folder; None for a file."""
        return self.object(self.md5) if self.md5.endswith(".dir") else None

    def object(self, digest: str) -> Path:
        """The file in the cache with a digest."""
        return self.cache / digest[:2] / digest[2:]

    def files(self) -> dict[Path, str]:
        """{file: md5}; of a folder only if its listing is in the cache and valid."""
        if self.listing is None:
            return {self.path: self.md5}
        if not is_valid(self.listing):
            return {}
        return {self.path / entry["relpath"]: entry["md5"] for entry in json.loads(self.listing.read_text("utf-8"))}

    def objects(self) -> dict[Path, Path]:
        """{object in the cache: file of the output}, the listing of a folder included."""
        listing = {self.listing: self.path} if self.listing else {}
        return {**listing, **{self.object(digest): file for file, digest in self.files().items()}}

    def damaged(self) -> list[Path]:
        """The objects that are in the cache and damaged."""
        return [file for file in self.objects() if file.is_file() and not is_valid(file)]

    def missing(self) -> list[Path]:
        """The objects that are not in the cache; none if it holds nothing of the output."""
        missing = [file for file in self.objects() if not file.is_file()]
        return [] if len(missing) == len(self.objects()) else missing

    def different(self) -> list[Path]:
        """The files that are here with other bytes, or here and not in the output; and those that are not here."""
        expected = self.files()
        present = [file for file in self.path.rglob("*") if file.is_file()] if expected else []
        changed = [file for file, digest in expected.items() if not file.is_file() or md5(file) != digest]
        return sorted({*changed, *present} - ({*expected} - {*changed}))


def is_valid(file: Path) -> bool:
    """Whether an object of the cache is there and has the md5 that is its name."""
    return file.is_file() and md5(file) == f"{file.parent.name}{file.name}".removesuffix(".dir")


def repository() -> AbstractContextManager[Any]:
    """The DVC repository here."""
    from dvc.repo import Repo  # takes a second to import

    return Repo()


def outputs() -> list[Output]:
    """The outputs in dvc.lock; none if it is missing or damaged."""
    content = Path("dvc.lock").read_bytes() if Path("dvc.lock").is_file() else b""
    if not content or valid_copies.damage("dvc.lock", content):
        return []
    with repository() as repo:
        cache = Path(repo.cache.local.path)
    stages = yaml.safe_load(content)["stages"]
    return [
        Output(stage, Path(out["path"]), out["md5"], cache)
        for stage, entry in stages.items()
        for out in entry.get("outs", ())
        if "md5" in out
    ]


def check_objects() -> Iterator[Finding]:
    """Objects in the cache that are damaged or missing."""
    for out in outputs():
        if damaged := out.damaged():
            names = ", ".join(f"{out.objects()[file]} ({file})" for file in damaged)
            yield Finding(f"DVC's cache holds damaged objects of {out.path}: {names}", HEAL, partial(heal_objects, out))
        elif missing := out.missing():
            names = ", ".join(str(out.objects()[file]) for file in missing)
            remedy = f"run dvc pull {out.path}, or make it again: dvc repro --single-item --force {out.stage}"
            yield Finding(f"DVC's cache lacks objects of {out.path}: {names}", remedy)


def heal_objects(out: Output) -> str:
    """Put damaged objects away; restore them from the output itself, or from a remote.

    Raises:
        UserError: the list of the files of a folder is lost: what else is in the cache is not known then.
    """
    damaged = {file: out.objects()[file] for file in out.damaged()}
    for file, source in damaged.items():
        quarantine(file)
        if source.is_file() and md5(source) == f"{file.parent.name}{file.name}":
            copy_object(source, file)
    if not all(file.is_file() for file in damaged):
        with suppress(DvcException), repository() as repo:  # there may be no remote, or it lacks the object
            repo.fetch(targets=[str(out.path)])
    for file in out.damaged():  # the remote may have been damaged, too
        quarantine(file)
    if out.listing and not out.listing.is_file():
        remedy = f"make it again: dvc repro --single-item --force {out.stage}"
        raise UserError(f"DVC's cache held a damaged list of the files of {out.path}, which is not restored; {remedy}")
    left = [str(source) for file, source in damaged.items() if not file.is_file()]
    done = f"not restored: {', '.join(left)}" if left else "and restored"
    return f"{len(damaged)} damaged objects of {out.path} are removed from DVC's cache, {done}"


def copy_object(source: Path, target: Path) -> None:
    """Add a file to the cache as DVC does: as a whole, and read-only."""
    fresh = target.with_name(f"{target.name}.fresh")
    shutil.copyfile(source, fresh)
    fresh.chmod(0o444)
    fresh.replace(target)


def check_outputs() -> Iterator[Finding]:
    """Outputs with other bytes than in dvc.lock, of which DVC does not know."""
    different = {out: files for out in outputs() if out.path.exists() and (files := out.different())}
    try:
        known = changed_outputs() if different else set()
    except DvcException as error:
        yield Finding(f"dvc status fails: {error}", "correct what it names, then run decant doctor again")
        return
    for out, files in different.items():
        if str(out.path) not in known:
            names = ", ".join(map(str, files))
            problem = f"{out.path} is damaged, and DVC takes it for unchanged: {names}"
            yield Finding(problem, HEAL, partial(heal_output, out))


def changed_outputs() -> set[str]:
    """The outputs of which DVC knows that they differ from dvc.lock.

    Raises:
        DvcException: dvc.yaml is damaged, or DVC is busy.
    """
    with repository() as repo:
        status = repo.status()
    parts = [part for stage in status.values() for part in stage if isinstance(part, dict)]
    return {path for part in parts for path in part.get("changed outs", {})}


def heal_output(out: Output) -> str:
    """Put damaged files away, and restore those of the output from the cache."""
    sources = {file: out.object(digest) for file, digest in out.files().items()}
    damaged = [file for file in out.different() if file not in sources or is_valid(sources[file])]
    for file in damaged:
        if file.is_file():
            quarantine(file)
        if file in sources:
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sources[file], file)
    return f"{len(damaged)} damaged files of {out.path} are replaced from DVC's cache"
