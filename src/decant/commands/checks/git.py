"""What killed experiments left in git: worktrees, a detached HEAD, stashed edits."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from decant.commands.checks.finding import HEAL, Finding
from decant.core.locks import is_free
from decant.workspace import result
from decant.workspace.git import Git
from decant.workspace.worktree import EXPERIMENTS, opened

DVC_STASH = re.compile(r"WIP on \(no branch\)")
"""The title of a stash that was made while HEAD was detached, as DVC does."""


def check_result() -> Iterator[Finding]:
    """A result that a killed experiment did not bring into the project completely."""
    if project := result.pending(Path()):
        yield Finding(f"the result in {project} is not complete in data/", HEAL, complete_result)


def complete_result() -> str:
    """Complete it."""
    result.complete_interrupted(Path())
    return "the result of the last experiment is complete in data/"


def check_worktrees() -> Iterator[Finding]:
    """Worktrees of experiments that nobody runs, and that no result has to be completed from."""
    needed = result.pending(Path())
    for folder in sorted(EXPERIMENTS.glob("*/")):
        if not is_free(folder.with_name(f"{folder.name}.lock")) or (needed and needed.is_relative_to(folder)):
            continue
        if any(folder.rglob(".state/**/*.ckpt")):
            remedy = f"the same command resumes its training; or give it up: git worktree remove --force {folder}"
            yield Finding(f"{folder} is the worktree of an interrupted experiment", remedy)
        else:
            yield Finding(f"{folder} is a worktree that no experiment uses", HEAL, partial(remove_worktree, folder))


def remove_worktree(folder: Path) -> str:
    """Remove the worktree of an experiment; its finished stages are in DVC's cache."""
    with opened(Path.cwd(), folder.name) as worktree:  # nobody may begin to use it meanwhile
        worktree.remove()
    return f"the worktree {folder} is removed"


def check_head() -> Iterator[Finding]:
    """A HEAD without a branch, as a killed `dvc exp run` leaves it, if a branch has all of its commits."""
    git = Git(Path())
    if git.succeeds("symbolic-ref", "--quiet", "HEAD") or not git.succeeds("rev-parse", "--verify", "HEAD"):
        return
    branches = git("for-each-ref", "--contains", "HEAD", "--format=%(refname:short)", "refs/heads").split()
    previous = git("rev-parse", "--abbrev-ref", "@{-1}").strip() if git.succeeds("rev-parse", "@{-1}") else ""
    if branches:
        branch = previous if previous in branches else branches[0]
        yield Finding("git's HEAD is on no branch, as a killed dvc exp run leaves it", f"git switch {branch}")


def check_stash() -> Iterator[Finding]:
    """Edits that DVC stashed, and was killed before it restored them."""
    for line in Git(Path())("stash", "list").splitlines():
        if DVC_STASH.search(line):
            name = line.partition(":")[0]
            yield Finding(
                f"git's {line} may hold edits that a killed DVC stashed",
                f"look at them (git stash show -p {name}), then git stash apply {name} or git stash drop {name}",
            )
