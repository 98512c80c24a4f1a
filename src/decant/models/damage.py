"""Errors of a damaged model directory, as messages.

It imports nothing of the training code: a logged model ships the modules that its architecture imports.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from safetensors import SafetensorError

from decant.core.errors import UserError


@contextmanager
def reporting_damage(folder: Path, remedy: str, passed_through: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn errors raised inside, while a model directory is read, into a `UserError` that names the folder.

    `remedy`: the next step, at the end of the message. Errors of the types `passed_through` are raised unchanged.

    Raises:
        UserError: the model directory is damaged.
    """
    try:
        yield
    except passed_through:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        file = folder / "model.safetensors" if isinstance(error, SafetensorError) else folder
        reason = str(error).partition("\n")[0]
        raise UserError(f"{file} cannot be read: {reason}; expected a complete model directory, {remedy}") from error


def reading_model_directory(folder: Path) -> AbstractContextManager[None]:
    """Context for reading a model directory that a stage wrote; the stage runner reports a missing file.

    Raises:
        UserError: the model directory is damaged.
        FileNotFoundError: a file is missing.
    """
    return reporting_damage(folder, "as an earlier stage wrote it: run: dvc repro", (FileNotFoundError,))
