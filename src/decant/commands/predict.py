"""`decant predict`: answers of a finished model for files of any length, at the speed of ONNX Runtime.

Nothing of the training code is imported, so it starts at once.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from decant.core.errors import UserError, suggestion
from decant.serving.predictor import BATCH, VARIANTS, Answerer, Model
from decant.serving.preprocessing import BadInput
from decant.serving.readers import FILE, Row, rows

CHUNK = 4096
"""Texts in memory at a time: like lengths among them share a batch."""
Write = Callable[[dict[str, Any]], object]
"""Puts a row into the output."""


def main(words: Sequence[str]) -> None:
    """Answer what the command line names.

    Raises:
        UserError: bad options, a bad model, a bad row.
    """
    options = parsed(words)
    absent = [
        f"there is no file {name}; give the path of one, or - for the standard input"
        for name in options.files
        if name != "-" and not Path(name).exists()
    ]
    if absent:
        raise UserError(absent)
    if not options.model.is_dir():
        raise UserError(
            f"there is no folder {options.model}; --model names a finished model directory, such as data/distill "
            "(and --variant one of its files)"
        )
    model = Model(options.model, options.variant)
    with writing(options.output) as file, progress(options.files) as advance:
        write = OUTPUTS[options.format](file)
        for name in options.files:
            for chunk, answers in answered(model, rows(name, model.images), options):
                for row, answer in zip(chunk, answers, strict=True):
                    write(merged(row, answer))
                file.flush()
                advance(sum(row.size for row in chunk))


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line."""
    parser = argparse.ArgumentParser("decant predict", description="Answers of a finished model for rows of files.")
    parser.add_argument("files", nargs="*", metavar="FILE", default=["-"], help=(
        "text (an input a line), .csv, .tsv, .jsonl, .parquet; images or folders of them; - or nothing: standard input"
    ))  # fmt: skip
    parser.add_argument("--model", type=Path, default=Path("data/distill"), help="model directory (%(default)s)")
    parser.add_argument("--variant", choices=VARIANTS, help="default: int8 where there is one")
    parser.add_argument("--column", action="append", help="that holds the input; of pairs, give it twice")
    parser.add_argument("--format", choices=sorted(OUTPUTS), help="of the output; default: by its ending, else jsonl")
    parser.add_argument("--top-k", type=positive, default=0, help="the probabilities of so many classes, too")
    parser.add_argument("--output", type=Path, help="file; default: standard output")
    parser.add_argument("--batch-size", type=positive, default=BATCH, help="inputs of a forward pass (%(default)s)")
    options = parser.parse_args(words)
    ending = options.output.suffix.lower().removeprefix(".") if options.output else ""
    if ending in ("tsv", "parquet") and not options.format:  # which this command would not read back
        raise UserError(
            f"{options.output} cannot be written as .{ending}; choose .{' or .'.join(OUTPUTS)}, or --format"
        )
    options.format = options.format or (ending if ending in OUTPUTS else "jsonl")
    return options


def positive(word: str) -> int:
    """A number of 1 or more."""
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"{word!r}, expected 1 or more")
    return int(word)


def answered(
    model: Answerer, found: Iterator[Row], options: argparse.Namespace
) -> Iterator[tuple[list[Row], list[dict[str, Any]]]]:
    """Rows of one file and their answers, a chunk at a time."""
    first = next(found, None)
    if first is None:
        return
    columns = chosen(first, options.column, model.images)
    typed = options.files == ["-"] and sys.stdin.isatty()  # answered line by line
    size = 1 if typed else options.batch_size if model.images else CHUNK  # the bytes of images are large
    everything = chain([first], found)
    while chunk := list(islice(everything, size)):
        inputs = [given(row, columns, model.images) for row in chunk]
        try:
            logits = model(inputs, options.batch_size)
        except BadInput as error:
            raise UserError(f"{chunk[error.position].where()}: {error.reason}") from error
        yield chunk, model.records(logits, options.top_k)


def chosen(row: Row, wanted: list[str] | None, images: bool) -> list[str]:
    """The columns that hold the input; two of a pair.

    Raises:
        UserError: a wanted one is not there, or none is wanted and it is not plain which is meant.
    """
    names = list(row.values)
    for name in wanted or []:
        if name not in row.values:
            near = suggestion(name, names)
            raise UserError(f"{row.place} has no column {name!r}{near}; its columns are: {', '.join(names)}")
    if wanted:
        return wanted
    usual = [[FILE], ["image"]] if images else [["text", "text_pair"], ["text"]]
    likely = next((some for some in usual if set(some) <= set(names)), names)
    if likely is not names or len(names) == 1:
        return likely
    raise UserError(f"{row.place} has the columns {', '.join(names)}; say which holds the input: --column NAME")


def given(row: Row, columns: list[str], images: bool) -> Any:
    """The input of a row, as a model takes it."""
    try:
        values = [row.values[name] for name in columns]
    except KeyError as error:
        raise UserError(f"{row.where()}: no column {error}, which the first row has") from error
    if images:
        return content(row, values[0])
    return values[0] if len(values) == 1 else tuple(values)


def content(row: Row, value: Any) -> Any:
    """The bytes of an image: of the file that a text names, or those of a table."""
    if isinstance(value, dict):  # as the datasets of Hugging Face store them
        value = value.get("bytes") or value.get("path")
    try:
        return Path(value).read_bytes() if isinstance(value, str) else value
    except OSError as error:
        raise UserError(f"{row.where()}: {value} cannot be read: {error.strerror}") from error


def merged(row: Row, answer: dict[str, Any]) -> dict[str, Any]:
    """The columns of a row, but for the bytes of images, and its answer, which hides none of them."""
    kept = {k: v for k, v in row.values.items() if not isinstance(v.get("bytes") if isinstance(v, dict) else v, bytes)}
    return kept | {f"predicted_{k}" if k in kept else k: v for k, v in answer.items()}


def json_lines(file: TextIO) -> Write:
    """An object a line."""
    return lambda values: file.write(json.dumps(values, ensure_ascii=False, default=str) + "\n")


def table(file: TextIO) -> Write:
    """CSV with the columns of the first row; lists and probabilities as JSON."""
    writer: csv.DictWriter = csv.DictWriter(file, [], lineterminator="\n")

    def write(values: dict[str, Any]) -> None:
        if not writer.fieldnames:
            writer.fieldnames = list(values)
            writer.writeheader()
        cells = {k: json.dumps(v, ensure_ascii=False) if isinstance(v, list | dict) else v for k, v in values.items()}
        try:
            writer.writerow(cells)
        except ValueError as error:
            raise UserError(f"a row has columns that the first one lacks ({error}); use --format jsonl") from error

    return write


OUTPUTS: dict[str, Callable[[TextIO], Write]] = {"csv": table, "jsonl": json_lines}


@contextmanager
def writing(path: Path | None) -> Iterator[TextIO]:
    """The output; a file appears under its name when it is whole."""
    # half of a surrogate pair, which JSON can carry, is written as JSON writes it
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    if path is None or (path.exists() and not (path.is_file() or path.is_dir())):
        with open(path or sys.stdout.fileno(), "w", closefd=path is not None, **how) as file:
            yield file
        return
    if path.is_dir():
        raise UserError(f"{path} is a folder; give --output the name of a file")
    if not path.absolute().parent.is_dir():
        raise UserError(f"there is no folder {path.parent} for the output; make it first")
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("w", **how) as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def progress(names: Iterable[str]) -> Iterator[Any]:
    """A bar of the bytes read, on a terminal; a function that takes how many more."""
    if not sys.stderr.isatty():
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        sizes = [total(Path(name)) for name in names if name != "-"]
        task = shown.add_task("predict", total=sum(sizes) if sizes else None)
        yield lambda size: shown.advance(task, size)


def total(path: Path) -> int:
    """Bytes of a file, or of those in a folder."""
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size
