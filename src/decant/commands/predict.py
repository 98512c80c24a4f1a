"""`decant predict`: predictions for the rows of files of any length, with ONNX Runtime.

Imports nothing of the training code, so that it starts at once.
"""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from decant.core.errors import UserError, suggestion
from decant.serving import writers
from decant.serving.limits import read_image
from decant.serving.model_formats import ModelFormat
from decant.serving.opening import open_predictor
from decant.serving.predictor import Predictor
from decant.serving.preprocessing import BadInput
from decant.serving.readers import FILE_COLUMN, read_rows
from decant.serving.rows import Row
from decant.serving.writers import OutputFormat

CHUNK_SIZE = 4096
"""Texts in memory at a time: texts of similar length in a chunk share a batch."""
CHUNK_BYTES = 64 * 2**20
"""Of the inputs and rows in memory at a time; the last of a chunk may be larger."""
USUAL_COLUMNS = [["text", "text_pair"], ["text"]]
USUAL_IMAGE_COLUMNS = [[FILE_COLUMN], ["image"]]
"""The columns that are read if `--column` is not given; the first that the table has."""
Records = list[dict[str, Any]]
Advance = Callable[[int], None]
"""Tells a progress bar how many more bytes were read."""


@dataclass(frozen=True)
class Options:
    """The options of `decant predict`; the command line documents them."""

    model: Path
    model_format: ModelFormat | None
    columns: Sequence[str]
    top_k: int
    batch_size: int
    output: Path | None
    output_format: OutputFormat | None


def run(files: Sequence[str], options: Options) -> None:
    """Write the rows of files with their predictions.

    Raises:
        UserError: bad options, a bad model, a bad row.
    """
    warnings.filterwarnings("ignore", message="Image size", module="PIL")  # too large images are refused by size
    output_format = options.output_format or writers.output_format(options.output)
    check_paths(files, options.model)
    predictor = open_predictor(options.model, options.model_format)
    with writers.open_output(options.output) as output, progress(files) as advance:
        write = writers.row_writer(output, output_format)
        for chunk, records in predict_files(predictor, files, options):
            for row, record in zip(chunk, records, strict=True):
                write(merge(row, record))
            output.flush()
            advance(sum(row.size for row in chunk))


def check_paths(files: Sequence[str], model: Path) -> None:
    """Refuse paths that do not exist.

    Raises:
        UserError: with every file that does not exist, or the model directory.
    """
    problems = [
        f"there is no file {name}; give the path of one, or - for the standard input"
        for name in files
        if name != "-" and not os.path.exists(name)  # noqa: PTH110 - Path.exists raises on a name that is too long
    ]
    if problems:
        raise UserError(problems)
    if not model.is_dir():
        raise UserError(
            f"there is no folder {model}; --model names a finished model directory, such as data/distill "
            "(and --model-format one of its ONNX files)"
        )


def predict_files(
    predictor: Predictor, files: Sequence[str], options: Options
) -> Iterator[tuple[Sequence[Row], Records]]:
    """Rows and their predictions, chunk by chunk; a chunk holds rows of one file."""
    interactive = list(files) == ["-"] and sys.stdin is not None and sys.stdin.isatty()
    # the answer to a typed line comes at once; the bytes of images are large
    size = 1 if interactive else options.batch_size if predictor.takes_images else CHUNK_SIZE
    for name in files:
        rows = read_rows(name, predictor.takes_images)
        if (first := next(rows, None)) is None:
            continue
        columns = input_columns(first, options.columns, predictor.takes_images)
        for chunk in chunks(chain([first], rows), size, columns, predictor.takes_images):
            yield [row for row, _ in chunk], predict_chunk(predictor, chunk, options)


def chunks(rows: Iterable[Row], size: int, columns: Sequence[str], images: bool) -> Iterator[list[tuple[Row, Any]]]:
    """Rows with their inputs: up to `size` at a time, fewer if they are large."""
    chunk: list[tuple[Row, Any]] = []
    length = 0
    for row in rows:
        value = row_input(row, columns, images)
        chunk.append((row, value))
        length += max(row.size, len(value) if isinstance(value, str | bytes) else 0)
        if len(chunk) == size or length >= CHUNK_BYTES:
            yield chunk
            chunk, length = [], 0
    if chunk:
        yield chunk


def predict_chunk(predictor: Predictor, chunk: Sequence[tuple[Row, object]], options: Options) -> Records:
    """The predictions for rows with their inputs.

    Raises:
        UserError: a bad row, by file and line.
    """
    try:
        logits = predictor([value for _, value in chunk], options.batch_size)
    except BadInput as error:
        raise UserError(f"{chunk[error.position][0].location()}: {error.reason}") from error
    return predictor.records(logits, options.top_k)


def input_columns(row: Row, requested: Sequence[str], images: bool) -> Sequence[str]:
    """The columns that hold the input; two for a pair of texts.

    Raises:
        UserError: a requested column does not exist, or none is requested and the choice is not obvious.
    """
    names = list(row.values)
    for name in requested:
        if name not in row.values:
            raise UserError(
                f"{row.source} has no column {name!r}{suggestion(name, names)}; its columns are: {', '.join(names)}"
            )
    if requested:
        return requested
    for columns in USUAL_IMAGE_COLUMNS if images else USUAL_COLUMNS:
        if set(columns) <= set(names):
            return columns
    if len(names) == 1:
        return names
    raise UserError(f"{row.source} has the columns {', '.join(names)}; say which holds the input: --column NAME")


def row_input(row: Row, columns: Sequence[str], images: bool) -> Any:
    """The input of a row, as a predictor takes it."""
    try:
        values = [row.values[name] for name in columns]
    except KeyError as error:
        raise UserError(f"{row.location()}: no column {error}, which the first row has") from error
    if images:
        return image_content(row, values[0])
    return values[0] if len(values) == 1 else tuple(values)


def image_content(row: Row, value: object) -> Any:
    """The bytes of an image: from the file at a path, or from the table itself."""
    if isinstance(value, dict):  # the image feature of Hugging Face datasets
        value = value.get("bytes") or value.get("path")
    try:
        return read_image(value) if isinstance(value, str) else value
    except UserError as error:
        raise UserError(f"{row.location()}: {error}") from error


def merge(row: Row, record: dict[str, object]) -> dict[str, Any]:
    """The columns of a row, without the bytes of images, and its prediction, which overwrites no column."""
    columns = {k: v for k, v in row.values.items() if not holds_bytes(v)}
    return columns | {f"predicted_{k}" if k in columns else k: v for k, v in record.items()}


def holds_bytes(value: object) -> bool:
    """Whether a value of a table is the content of a file."""
    return isinstance(value.get("bytes") if isinstance(value, dict) else value, bytes)


@contextmanager
def progress(names: Iterable[str]) -> Iterator[Advance]:
    """A progress bar of the bytes read, if the standard error is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda size: None
        return
    from rich.console import Console  # slow to import, and needed on a terminal only
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        sizes = [total_size(Path(name)) for name in names if name != "-"]
        task = bar.add_task("predict", total=sum(sizes) if sizes else None)
        yield lambda size: bar.advance(task, size)


def total_size(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size
