"""`decant predict` as a user runs it."""

import csv
import io
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.commands import Done, run_here
from support.model_directories import picture
from support.paths import ROOT

from decant.serving.limits import MAX_ROW_BYTES
from decant.serving.predictor import OnnxPredictor, Predictor

COMMAND = [sys.executable, "-m", "decant.cli", "predict"]
ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
TEXTS = ["where is my parcel", "", "Ärger \U0001f600, \"quoted\"; 'so'", "a " * 300, "it's late"]


def predict(model: Path, *arguments: str, cwd: Path, stdin: bytes = b"") -> Done:
    return run_here(["cli", "predict", "--model", str(model), *arguments], cwd, stdin=stdin)


def records(done: Done) -> list[dict]:
    """The rows of an output without errors."""
    assert (done.code, done.err) == (0, "")
    return [json.loads(line) for line in done.out.split("\n")[:-1]]


def expected(model: Path, inputs: list, top_k: int = 0, model_format: str | None = None) -> list[dict]:
    """The predictions of the model itself."""
    local = OnnxPredictor(model, model_format)
    return local.records(local(inputs), top_k)


def rounded(rows: list[dict]) -> list[dict]:
    return json.loads(json.dumps(rows), parse_float=lambda x: round(float(x), 4))


def test_predict_imports_no_training_code(texts: Path, tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from decant.cli import main\n"
        f"sys.argv[1:] = ['predict', '--model', {str(texts)!r}]\n"
        "assert main() == 0\n"
        "assert not {'torch', 'transformers', 'mlflow', 'pandas', 'pyarrow', 'sklearn', 'rich'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=ENV, input=b"a\n", capture_output=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "a"


def test_each_line_of_the_standard_input_is_predicted_in_order(texts: Path, tmp_path: Path) -> None:
    predictions = [{"text": t, **p} for t, p in zip(TEXTS, expected(texts, TEXTS), strict=True)]
    for given in ("\n".join(TEXTS), "\r\n".join(TEXTS) + "\r\n", "\ufeff" + "\n".join(TEXTS) + "\n"):
        assert rounded(records(predict(texts, cwd=tmp_path, stdin=given.encode()))) == rounded(predictions)


def test_empty_inputs_have_no_predictions(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    assert records(predict(texts, "-", "empty.csv", cwd=tmp_path)) == []


def write(form: str, file: Path, table: pd.DataFrame) -> None:
    if form in ("csv", "tsv"):
        table.to_csv(file, index=False, sep="\t" if form == "tsv" else ",")
    elif form == "parquet":
        table.to_parquet(file)
    else:
        table.to_json(file, orient="records", lines=True)


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_keep_their_columns(form: str, texts: Path, tmp_path: Path) -> None:
    lines = ["one\ntwo", *TEXTS]
    table = pd.DataFrame({"id": range(6), "message": lines, "label": list("abcabc")})
    write(form, tmp_path / f"t.{form}", table)
    rows = records(
        predict(texts, f"t.{form}", "--column", "message", "--model-format", "onnx", "--top-k", "2", cwd=tmp_path)
    )
    predictions = expected(texts, lines, 2, "onnx")
    assert [r["message"] for r in rows] == lines
    assert [int(r["id"]) for r in rows] == list(range(6))
    assert [r["label"] for r in rows] == list("abcabc")  # what the table had
    assert [r["predicted_label"] for r in rows] == [a["label"] for a in predictions]
    assert rounded([r["probabilities"] for r in rows]) == rounded([a["probabilities"] for a in predictions])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_json_lines_on_the_standard_input_are_recognised(encoding: str, texts: Path, tmp_path: Path) -> None:
    given = "\n".join(json.dumps({"text": t, "n": i}) for i, t in enumerate(TEXTS))
    rows = records(predict(texts, cwd=tmp_path, stdin=given.encode(encoding)))
    assert [(r["text"], r["n"]) for r in rows] == [(t, i) for i, t in enumerate(TEXTS)]


def test_csv_can_be_read_back(texts: Path, tmp_path: Path) -> None:
    done = predict(texts, "--format", "csv", "--top-k", "2", cwd=tmp_path, stdin="\n".join(TEXTS).encode())
    rows = list(csv.DictReader(io.StringIO(done.out, newline="")))
    assert [r["text"] for r in rows] == TEXTS
    assert [json.loads(r["probabilities"])[r["label"]] for r in rows] == [float(r["score"]) for r in rows]


def test_the_suffix_of_the_output_sets_its_format(texts: Path, tmp_path: Path) -> None:
    for words in (["--output", "a.csv"], ["--output", "b.csv", "--format", "jsonl"], ["--output", "c.txt"]):
        assert predict(texts, *words, cwd=tmp_path, stdin=b"one\n").code == 0
    heads = [(tmp_path / name).read_text()[:5] for name in ("a.csv", "b.csv", "c.txt")]
    assert heads == ["text,", '{"tex', '{"tex']


def test_several_files_are_one_output(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.csv").write_text("text,n\nthree,3\n")
    done = predict(texts, "a.txt", "b.csv", "--output", "out.jsonl", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert [json.loads(r)["text"] for r in (tmp_path / "out.jsonl").read_text().splitlines()] == ["one", "two", "three"]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["a.txt", "b.csv", "out.jsonl"]


def test_a_file_can_be_its_own_output(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    assert predict(texts, "a.jsonl", "--output", "a.jsonl", cwd=tmp_path).code == 0
    assert set(json.loads((tmp_path / "a.jsonl").read_text())) == {"text", "label", "score"}


def test_pairs_are_two_columns(pairs: Path, tmp_path: Path) -> None:
    table = pd.DataFrame({"text": ["a", "b c"], "text_pair": ["d", "e"], "z": [1, 2]})
    write("csv", tmp_path / "usual.csv", table)
    write("csv", tmp_path / "named.csv", table.rename(columns={"text": "one", "text_pair": "two"}))
    scores = [a["score"] for a in expected(pairs, [("a", "d"), ("b c", "e")])]
    for words in (["usual.csv"], ["named.csv", "--column", "one", "--column", "two"]):
        rows = records(predict(pairs, *words, cwd=tmp_path))
        assert [r["score"] for r in rows] == pytest.approx(scores, abs=1e-5)


def test_images_come_from_files_folders_lists_and_tables(images: Path, tmp_path: Path) -> None:
    files = {f"shots/{h}.png": picture(h) for h in (30, 50)} | {"shots/deep/60.jpg": picture(60, form="JPEG")}
    (tmp_path / "shots/deep").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "shots/notes.txt").write_text("no image")
    (tmp_path / "list.txt").write_text("\n".join(files))
    write("csv", tmp_path / "t.csv", pd.DataFrame({"image": list(files), "id": range(3)}))
    pd.DataFrame({"image": [{"bytes": c, "path": None} for c in files.values()]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"image": list(files.values()), "id": range(3)}).to_parquet(tmp_path / "b.parquet")
    scores = [a["score"] for a in expected(images, list(files.values()))]
    for words in (["shots"], list(files), ["list.txt"], ["t.csv"], ["a.parquet"], ["b.parquet"]):
        rows = records(predict(images, *words, cwd=tmp_path))
        assert [r["score"] for r in rows] == pytest.approx(scores, abs=1e-5), words
        assert ("image" in rows[0]) == (words == ["t.csv"])  # but for the bytes
    assert [r["file"] for r in records(predict(images, "shots", cwd=tmp_path))] == list(files)


# --- bad input


@pytest.mark.parametrize(
    ("name", "content", "words", "message"),
    [
        ("t.csv", "id,message,n\n1,a,2\n", ["--column", "mesage"],
         "t.csv has no column 'mesage' (did you mean 'message'?); its columns are: id, message, n"),
        ("t.csv", "id,message\n1,a\n", [],
         "t.csv has the columns id, message; say which holds the input: --column NAME"),
        ("t.csv", "text,n\na,1\nb\n", [], "t.csv, line 3: 1 fields, expected 2 as in the header"),
        ("t.csv", 'text,n\na,1\n"b,2\n', [], "t.csv, line 3: unexpected end of data"),
        ("t.jsonl", '{"text": "a"}\n\n{"text"\n', [], "t.jsonl, line 3: not JSON"),
        ("t.jsonl", '{"text": "a"}\n{"text": "b", "n": ' + "[" * 100_000, [],
         "t.jsonl, line 2: nested more than 32 deep"),
        ("t.jsonl", '{"text": "a", "n": ' + "1" * 5000 + "}\n", [], "t.jsonl, line 1: a number of 5,000 digits"),
        ("t.jsonl", '{"text": "a", "text": "b"}\n', [], "t.jsonl, line 1: the key 'text' twice in an object"),
        ("t.csv", "text,n,text\na,1,b\n", [], "t.csv, line 1: two columns are called 'text'; rename one"),
        ("t.txt", "a\n" + "x" * (MAX_ROW_BYTES + 1), [], "t.txt, line 2: more than 16,777,216 bytes in a row"),
        ("t.csv", 'text\n"' + ("x" * 1023 + "\n") * 16_384, [], "t.csv, line 16385: more than 16,777,216 bytes"),
        ("t.csv", "a," * 10_000 + "z\n", [], "t.csv, line 1: 10,001 columns, expected at most 10,000"),
        ("t.jsonl", '{"text": "a"}\n[1]\n', [], "t.jsonl, line 2: list, expected an object or a text"),
        ("t.jsonl", '{"text": "a"}\n{"texts": "a"}\n', [],
         "t.jsonl, line 2: no column 'text', which the first row has"),
        ("t.jsonl", '{"text": "a"}\n{"text": null}\n', [], "t.jsonl, line 2: None (NoneType), expected a text"),
        ("t.jsonl", '{"text": "a"}\n{"text": "\\ud83d"}\n', [],
         "t.jsonl, line 2: a text with half of a surrogate pair"),
        ("t.jsonl", '{"text": "a"}\n{"text": "b", "n": 1}\n', ["--format", "csv"],
         "a row has columns that the first one lacks"),
        ("t.parquet", "PAR1", [], "t.parquet cannot be read as Parquet"),
        ("t.txt", "a\n", ["--output", "no/out"], "there is no folder no for the output"),
        ("t.txt", "a\n", ["--output", "o.parquet"], "o.parquet cannot be written as .parquet; choose .csv or .jsonl"),
        ("t.txt", "a\n", ["absent.txt", "gone.csv"],
         "there is no file absent.txt; give the path of one, or - for the standard input\n"
         "decant: there is no file gone.csv"),
        ("t.txt", "a\n", ["."], ". is a folder, expected a regular file"),
    ],
)  # fmt: skip
def test_a_bad_row_file_or_option_is_named(
    name: str, content: str, words: list[str], message: str, texts: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    done = predict(texts, name, *words, cwd=tmp_path)
    assert done.code == 2
    assert done.err.startswith(f"decant: {message}"), done.err


def test_numbers_that_json_lacks_are_null(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "n": NaN, "m": 1e999, "list": [-Infinity, 1.5]}\n')
    pd.DataFrame({"text": ["a"], "n": [float("nan")], "m": [float("inf")]}).to_parquet(tmp_path / "a.parquet")
    done = predict(texts, "a.jsonl", "a.parquet", cwd=tmp_path)
    strict = [json.loads(line, parse_constant=pytest.fail) for line in done.out.splitlines()]
    assert [(row["n"], row["m"]) for row in strict] == [(None, None)] * 2
    assert strict[0]["list"] == [None, 1.5]


def test_dates_and_categories_of_parquet_are_written(texts: Path, tmp_path: Path) -> None:
    table = pd.DataFrame({"text": ["a"], "kind": pd.Categorical(["b"]), "day": [pd.Timestamp(2026, 1, 2)]})
    table["days"] = [[pd.Timestamp(2026, 1, 2)]]
    table.to_parquet(tmp_path / "t.parquet")
    (row,) = records(predict(texts, "t.parquet", cwd=tmp_path))
    assert (row["kind"], row["day"]) == ("b", "2026-01-02 00:00:00")
    done = predict(texts, "t.parquet", "--format", "csv", cwd=tmp_path)
    assert (done.code, '""2026-01-02 00:00:00""' in done.out) == (0, True), done.err


def test_what_is_no_regular_file_is_refused_at_once(texts: Path, images: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.txt")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "list.txt").write_text("fifo.txt\n")
    (tmp_path / "zeros.jsonl").write_text('{"file": "/dev/zero"}\n')
    (tmp_path / "null.jsonl").write_text('{"file": "a\\u0000b"}\n')
    start = time.monotonic()
    for model, name, message in (
        (texts, "fifo.txt", "fifo.txt is a pipe, expected a regular file; the standard input (-) takes"),
        (texts, "zero.csv", "zero.csv is a device, expected a regular file"),
        (texts, "loop", "there is no file loop"),
        (texts, "x" * 5000, "there is no file xxx"),
        (images, "list.txt", "list.txt, line 1: fifo.txt is a pipe, expected a regular file"),
        (images, "zeros.jsonl", "zeros.jsonl, line 1: /dev/zero is a device, expected a regular file"),
        (images, "null.jsonl", "null.jsonl, line 1: a\0b cannot be read: embedded null byte"),
    ):
        done = predict(model, name, cwd=tmp_path)
        assert done.code == 2
        assert done.err.startswith(f"decant: {message}"), done.err
    assert time.monotonic() - start < 10


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.parametrize("side", [8001, 10_000, 30_000, 2**31 - 1])
def test_an_image_of_too_many_pixels_is_refused_from_its_header(side: int, images: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(bomb(side, side))
    done = predict(images, "a.png", cwd=tmp_path)
    assert (done.code, done.err) == (2, "decant: a.png: an image with more than 64000000 pixels\n")


def test_inputs_are_held_in_memory_by_their_bytes(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decant.commands.predict.CHUNK_BYTES", 10)
    calls = []
    monkeypatch.setattr(Predictor, "__call__", counted(Predictor.__call__, calls))
    assert [row["text"] for row in records(predict(texts, cwd=tmp_path, stdin=b"a b c d e f\na\nb\n"))] == [
        "a b c d e f", "a", "b",
    ]  # fmt: skip
    assert calls == [1, 2]


def counted(function: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    """A function that also counts the inputs of each call."""

    def call(self: Any, inputs: list[Any], *arguments: Any) -> Any:
        calls.append(len(inputs))
        return function(self, inputs, *arguments)

    return call


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("/dev/full", "/dev/full cannot be written: No space left on device"),
        ("x" * 5000, "xxx"),
    ],
)
def test_an_output_that_cannot_be_written_is_named(output: str, message: str, texts: Path, tmp_path: Path) -> None:
    done = predict(texts, "--output", output, "--format", "csv", cwd=tmp_path, stdin=b"a\n")
    assert done.code == 2
    assert done.err.startswith(f"decant: {message}"), done.err


@pytest.mark.slow
def test_a_standard_input_or_output_that_cannot_be_used_is_named(texts: Path, tmp_path: Path) -> None:
    for redirection, message in (
        ("<&-", "the standard input is closed; give the path of a file"),
        (">&- <<<a", "the standard output is closed; give the name of a file"),
        (">/dev/full <<<a", "the standard output cannot be written: No space left on device"),
    ):
        done = subprocess.run(
            ["bash", "-c", f'"$@" {redirection}', "bash", *COMMAND, "--model", str(texts)],
            env=ENV, cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr.startswith(f"decant: {message}")) == (2, True), (redirection, done.stderr)


def test_bytes_that_are_not_utf_8_are_named_by_line(texts: Path, tmp_path: Path) -> None:
    done = predict(texts, cwd=tmp_path, stdin="a\ncafé\n".encode("latin-1"))
    assert done.code == 2
    assert done.err.startswith("decant: standard input, line 2: not UTF-8; convert it")


def test_a_bad_image_is_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "b.png").write_bytes(picture()[:300])
    done = predict(images, "a.png", "b.png", cwd=tmp_path)
    assert done.code == 2
    assert done.err.startswith("decant: b.png: no image (300 bytes), expected one of JPEG")
    done = predict(images, cwd=tmp_path, stdin=b"a.png\nc.png\n")
    assert done.err == "decant: standard input, line 2: c.png cannot be read: No such file or directory\n"


def test_a_failure_leaves_the_last_good_output(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("good\n")
    assert predict(texts, "--output", "out.jsonl", cwd=tmp_path, stdin=b"\xff").code == 2
    assert [f.name for f in tmp_path.iterdir()] == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "good\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["predct"], 2, "decant: No such command 'predct'. Did you mean 'predict'? See decant --help."),
        (["--help"], 0, ""),
    ],
)
def test_the_command_line_explains_itself(words: list[str], code: int, message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "decant.cli", *words],
        env=ENV, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert code or "predict" in done.stdout


def test_a_reader_that_closes_the_pipe_early_is_no_error(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("a\n" * 20_000)
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -n 1', "bash", *COMMAND, "--model", str(texts), "many.txt"],
        env=ENV, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert json.loads(done.stdout)["text"] == "a"
    assert done.stderr == ""


def test_ctrl_c_prints_nothing_and_leaves_no_incomplete_output(texts: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--model", str(texts), "--output", "out.jsonl"],
        env=ENV, cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # in the background it is ignored
    )  # fmt: skip
    for _ in range(600):
        if list(tmp_path.glob("*.part")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, b"")
    assert list(tmp_path.iterdir()) == []


def test_a_progress_bar_is_shown_on_a_terminal_only(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    parent, terminal = pty.openpty()
    done = subprocess.run(
        [*COMMAND, "--model", str(texts), "a.txt"],
        env={**ENV, "TERM": "xterm"}, cwd=tmp_path, stdout=subprocess.PIPE, stderr=terminal, check=False,
    )  # fmt: skip
    os.close(terminal)
    shown = os.read(parent, 100_000)
    os.close(parent)
    assert b"predict" in shown
    assert [json.loads(r)["text"] for r in done.stdout.splitlines()] == ["one", "two"]


def peak_memory(command: list[str], cwd: Path) -> int:
    """The largest resident set of a command in kB; ru_maxrss would begin with the memory of pytest, which forked it."""
    process, peak = subprocess.Popen(command, env=ENV, cwd=cwd), 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = max(peak, *(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line), 0)
        time.sleep(0.02)
    assert process.returncode == 0
    return peak


@pytest.mark.slow
@pytest.mark.parametrize(
    "form", ["txt", *(pytest.param(f, marks=pytest.mark.nightly) for f in ("csv", "jsonl", "parquet"))]
)
def test_memory_does_not_grow_with_the_rows(form: str, texts: Path, tmp_path: Path) -> None:
    command = [*COMMAND, "--model", str(texts), "--model-format", "onnx", f"t.{form}", "--output", "out.jsonl"]
    peaks = []
    for count in (10_000, 50_000):  # a chunk is of 4096 rows
        table = pd.DataFrame({"text": [f"parcel {n}" for n in range(count)]})
        if form == "txt":
            (tmp_path / "t.txt").write_text("\n".join(table["text"]))
        else:
            write(form, tmp_path / f"t.{form}", table)
        peaks.append(peak_memory(command, tmp_path))
        with (tmp_path / "out.jsonl").open() as lines:
            assert sum(1 for _ in lines) == count
    assert 0 < peaks[1] < 1.1 * peaks[0], peaks
