"""The outputs of earlier stages that a stage reads, checked against their digests before it starts to work."""

from collections.abc import Iterator
from pathlib import Path

from decant.core import manifest
from decant.core.errors import UserError
from decant.core.resume import UPSTREAM
from decant.dataset.prepared import PREPARED, SOURCE, damaged_tables

TABLES = (PREPARED, SOURCE)
"""Folders of tables, by which stage prepare hands on what it read."""
MODELS = {
    "pretrain_load": tuple(Path("data/pretrain_load") / role for role in ("teacher", "student", "scratch")),
    "fine_tune": (Path("data/fine_tune"),),
    "distill": (Path("data/distill"),),
}
"""Model directories by the stage that writes them."""


def verify_inputs(stage: str) -> None:
    """Refuse outputs of earlier stages that are not what those stages wrote, such as damaged files that DVC restored.

    What is missing altogether is left to the stage.

    Raises:
        UserError: every file that is damaged, missing or not listed.
    """
    upstream = UPSTREAM[stage]
    problems = [*damaged_data(upstream), *damaged_models(upstream)]
    if problems:
        raise UserError(problems)


def damaged_data(stages: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with the tables that `stages` wrote."""
    for folder in TABLES if "prepare" in stages else ():
        if folder.is_dir():
            yield from damaged_tables(folder)


def damaged_models(stages: tuple[str, ...]) -> Iterator[str]:
    """What is wrong with the model directories that `stages` wrote."""
    for folder in (folder for stage in stages for folder in MODELS.get(stage, ()) if folder.is_dir()):
        yield from (str(mismatch) for mismatch in manifest.mismatches(folder))
        if manifest.listed_files(folder) is None and any(folder.iterdir()):
            yield f"{folder / manifest.FILE} is missing: the files beside it cannot be checked; {manifest.REMEDY}"
