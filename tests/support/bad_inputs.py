"""What a user can get wrong, and what has to be said of it; test_bad_inputs.py tries each."""

import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
import PIL.Image

Content = str | bytes | None | Callable[[bytes], bytes]


@dataclass(frozen=True)
class Bad:
    """One bad input."""

    name: str
    command: str
    """A module of decant and its words, as a shell reads them."""
    culprit: str
    """Part of the message: the file, row, key or value that is bad."""
    remedy: str
    """Part of the message: what was expected, or the next step."""
    files: dict[str, Content] = field(default_factory=dict)
    """By path in a finished project: what to write there; none: nothing is there; or how to change what is."""
    env: dict[str, str] = field(default_factory=dict)
    forked: bool = False
    """Whether it needs a process of its own: an MLflow store, or several devices."""


def table(*lines: str) -> str:
    """A CSV file with the columns of conf/data/mine.yaml."""
    return "\n".join(["text,intent", *lines, ""])


def messages(rows: int, labels: str = "ab") -> list[str]:
    """Lines of `table`, all different."""
    return [f"message {i},{labels[i % len(labels)]}" for i in range(rows)]


GOOD = table(*messages(40))


def parquet(**columns: list[object]) -> bytes:
    """A Parquet file."""
    return pd.DataFrame(columns).to_parquet()


def picture(value: int = 0, form: str = "PNG", **how: object) -> bytes:
    """An image file of one colour."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (9, 9), (value, value, value)).save(file, form, **how)
    return file.getvalue()


PICTURES = {f"{name}/{i}.png": picture(8 * i + 100 * j) for j, name in enumerate(("ants", "bees")) for i in range(9)}


def folder(pictures: dict[str, bytes] = PICTURES, **more: Content) -> dict[str, Content]:
    """The files of conf/data/pictures.yaml."""
    return {f"data/raw/pictures/{name}": content for name, content in (pictures | more).items()}


def zipped(files: dict[str, bytes] = PICTURES, **claims: int) -> bytes:
    """A zip archive; `claims` of its last file stand in its directory."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for claim, value in claims.items():
            setattr(archive.filelist[-1], claim, value)
    return file.getvalue()


def tarred(form: str = "", **odd: bytes | str) -> bytes:
    """A tar archive with a member more, whose attributes are `odd`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{form}") as archive:
        for name, content in PICTURES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if odd:
            member = tarfile.TarInfo("ants/more.png")
            for key, value in odd.items():
                setattr(member, key, value)
            archive.addfile(member)
    return file.getvalue()


def bomb() -> bytes:
    """A PNG whose header claims 100,000 pixels a side."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0)
    return picture()[:12] + head + struct.pack(">I", zlib.crc32(head)) + picture()[33:]


def half(content: bytes) -> bytes:
    """A file that is cut off."""
    return content[: len(content) // 2]


def edited(old: str, new: str) -> Callable[[bytes], bytes]:
    """A text file with another passage."""

    def edit(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), 1)

    return edit


def changed(**values: object) -> Callable[[bytes], bytes]:
    """A JSON object with other values."""
    return lambda content: json.dumps(json.loads(content) | values).encode()


MINE = "data/raw/mine.csv"
HERE = "prepare use.data=mine"
PIXELS = "prepare use.data=pictures"
WEIGHTS = "data/raw/weights"
LOAD = "pretrain_load use.teacher=weights"
PREDICT = "cli predict"

DATA = [
    Bad("no file", HERE, "no file data/raw/mine.csv", "put it there"),
    Bad("empty file", HERE, "mine.csv does not parse as csv", "a header", {MINE: b""}),
    Bad("header only", HERE, "train has no labelled rows", "expected some", {MINE: table()}),
    Bad("column of input misspelt", HERE, "no column 'text'", "input:", {MINE: GOOD.replace("text,", "texts,", 1)}),
    Bad("column of target missing", HERE, "no column 'intent'", "target:", {MINE: "text\na\nb\n"}),
    Bad("separated by semicolons", HERE, "separated by ';'", "save it separated by commas", {MINE: GOOD.replace(",", ";")}),
    Bad("separated by tabs", HERE, "separated by tabs", ".tsv", {MINE: GOOD.replace(",", "\t")}),
    Bad("latin-1", HERE, "0xe9 near line 2", "iconv", {MINE: table("café,a").encode("latin-1")}),
    Bad("utf-16", HERE, "mine.csv is not UTF-8", "iconv -f UTF-16", {MINE: GOOD.encode("utf-16")}),
    Bad("nul bytes", HERE, "mine.csv holds a NUL byte near line 5", "save it again", {MINE: GOOD.replace("message 3", "mess\0age 3")}),
    Bad("a row with too many fields", HERE, "mine.csv does not parse as csv: Error tokenizing data. C error: Expected 2 fields in line 4, saw 3", "correct it", {MINE: GOOD.replace("message 2", "mess,age 2")}),
    Bad("all rows with too many fields", HERE, "mine.csv does not parse as csv: the header has 2 fields", "correct it", {MINE: GOOD.replace("message", "mess,age")}),
    Bad("a row with too few fields", HERE, "train-2", "label", {MINE: GOOD.replace("message 2,", "message 2 ")}),
    Bad("an open quote", HERE, "string starting at row 31", "correct it", {MINE: GOOD.replace("message 30", '"message 30')}),
    Bad("two columns of one name", HERE, "two columns are called 'text'", "rename the other", {MINE: GOOD.replace("text,intent", "text,intent,text").replace("\n", ",x\n")}),
    Bad("labels as ids", f"{HERE} +data.row_id=intent", "row_id is 'intent'", "expected different columns: name another", {MINE: GOOD}),
    Bad("ids twice", f"{HERE} +data.row_id=id", "train has 38 duplicate ids (first: '0')", "row_id:", {MINE: "text,intent,id\n" + "".join(f"{row},{i % 2}\n" for i, row in enumerate(messages(40)))}),
    Bad("labels missing", HERE, "train-2", "label them", {MINE: GOOD.replace("message 2,a", "message 2,")}),
    Bad("labels blank", HERE, "train-2", "label them", {MINE: GOOD.replace("message 2,a", "message 2,  ")}),
    Bad("one class", HERE, "single class 'a'", "at least two", {MINE: table(*messages(40, "a"))}),
    Bad("a class with one row", HERE, "one row of 'c'", "add rows or remove the class", {MINE: GOOD + "more,c\n"}),
    Bad("a class for each row", HERE, "one row of '0', '1', '10'", "add rows or remove the class", {MINE: table(*(f"text {i},{i}" for i in range(500)))}),
    Bad("few rows to cut", HERE, "validation cannot be split off train", "add rows", {MINE: table(*messages(6, "abc"))}),
    Bad("fewer rows than a batch", HERE, "fine_tune.batch_size is 16, but train has only 8 rows", "lower it", {MINE: table(*messages(12))}),
    Bad("leak into test", f"{HERE} +data.test=data/raw/t.csv", "inputs of train are also in test, for example 'message 0'", "leaks: drop", {MINE: GOOD, "data/raw/t.csv": table(*messages(9))}),
    Bad("leak into unlabelled", f"{HERE} +data.unlabelled=data/raw/t.csv", "inputs of unlabelled are also in train, for example 'message 0'", "leaks: drop", {MINE: GOOD, "data/raw/t.csv": table(*messages(9))}),
    Bad("a class that train lacks", f"{HERE} +data.test=data/raw/t.csv", "'z'", "add rows to train", {MINE: GOOD, "data/raw/t.csv": table("new,z")}),
    Bad("another file than its digest", f"{HERE} +data.sha256.train=00", "expected 00", "get the right one", {MINE: GOOD}),
    Bad("folder for a file", f"{HERE} data.train=data/raw", "data/raw cannot be read", "check the path"),
    Bad("parquet cut off", f"{HERE} data.train=data/raw/t.parquet", "t.parquet does not parse as parquet", "a whole Parquet file", {"data/raw/t.parquet": half(parquet(text=["a"], intent=["a"]))}),
    Bad("parquet that is text", f"{HERE} data.train=data/raw/t.parquet", "t.parquet does not parse as parquet", "a whole Parquet file", {"data/raw/t.parquet": GOOD}),
    Bad("a broken json line", f"{HERE} data.train=data/raw/t.jsonl", "t.jsonl does not parse as jsonl", "an object on each line", {"data/raw/t.jsonl": '{"text": "a", "intent": "a"}\n{"text": "b"\n'}),
    Bad("a json list", f"{HERE} data.train=data/raw/t.json", "t.json does not parse as jsonl", "an object on each line", {"data/raw/t.json": '[\n{"text": "a", "intent": "a"},\n{"text": "b", "intent": "b"}]\n'}),
    Bad("objects as inputs", f"{HERE} data.train=data/raw/t.jsonl", "t.jsonl holds dict as input", "input:", {"data/raw/t.jsonl": "".join(f'{{"text": {{"n": {i}}}, "intent": "{"ab"[i % 2]}"}}\n' for i in range(40))}),
    Bad("a spreadsheet", f"{HERE} data.train=data/raw/t.xlsx", "'.xlsx'", ".csv", {"data/raw/t.xlsx": b"PK"}),
    Bad("a name without ending", f"{HERE} data.train=data/raw/t", "data/raw/t", ".csv", {"data/raw/t": GOOD}),
    Bad("url that does not answer", f"{HERE} data.train=http://127.0.0.1:9/t.csv", "http://127.0.0.1:9/t.csv", "network"),
    Bad("url with a password", f"{HERE} data.train=http://me:s3cret@127.0.0.1:9/t.csv", "127.0.0.1:9/t.csv", "network"),
    Bad("url of no known kind", f"{HERE} data.train=htp://127.0.0.1/t.csv", "htp", "check the path"),
    Bad("data set of the hub, offline", "prepare use.data=banking77_hub", "cannot be loaded", "check the id"),
    Bad("regression on names", f"{HERE} use.task=regress", "'a'", "correct them", {MINE: GOOD}),
    Bad("regression on infinity", f"{HERE} use.task=regress", "'inf'", "correct them", {MINE: table(*messages(20, "123"), "x,inf")}),
    Bad("regression out of range", f"{HERE} use.task=regress", "outside [0, 5] (first: 9)", "low: and high:", {MINE: table(*messages(20, "129"))}),
    Bad("regression on one number", f"{HERE} use.task=regress", "single target 1", "two different", {MINE: table(*messages(20, "1"))}),
    Bad("regression without some numbers", f"{HERE} use.task=regress", "train-20", "label them", {MINE: table(*messages(20, "123"), "x,")}),
    Bad("regression on lists", f"{HERE} use.task=regress data.train=data/raw/t.parquet", "no numbers (first: \"['1']\")", "correct them", {"data/raw/t.parquet": parquet(text=["a", "b"], intent=[[1], [2]])}),
    Bad("multi-label with one label", f"{HERE} use.task=multilabel", "1 labels", "use task classify", {MINE: table(*messages(20, "a"))}),
    Bad("multi-label with a rare label", f"{HERE} use.task=multilabel", "'c'", "rare: drop", {MINE: GOOD + "more,a;c\n"}),
    Bad("multi-label with a label on all rows", f"{HERE} use.task=multilabel", "'a'", "remove it", {MINE: table(*(f"{i},a;{'bc'[i % 2]}" for i in range(20)))}),
    Bad("one class of lists", f"{HERE} data.train=data/raw/t.parquet", "lists of labels (first: ['a', 'b'])", "use.task multilabel", {"data/raw/t.parquet": parquet(text=list("abcdefgh"), intent=[["a", "b"], ["b"]] * 4)}),
    Bad("images without a size", f"{HERE} data.train=data/raw/t.parquet", "t.parquet holds images", "set size:", {"data/raw/t.parquet": parquet(text=[picture()], intent=["a"])}),
    Bad("a size without images", f"{HERE} +data.size=8 data.train=data/raw/t.parquet", "t.parquet holds float", "remove size:", {"data/raw/t.parquet": parquet(text=[1.5], intent=["a"])}),
    Bad("paths of images that are not there", f"{HERE} +data.size=8", "mine.csv: 40 files (message 0,", "put them there", {MINE: GOOD}),
    Bad("labels without a name", f"{HERE} +data.names=[x,y]", "'a'", "correct names:", {MINE: GOOD}),
    Bad("classes that are not there", f"{HERE} +data.classes=[a,z]", "['z']", "classes:", {MINE: GOOD}),
    Bad("part of a file that is not there", f"{HERE} +data.where.train.intent=z", "intent is 'z'", "one of: 'a', 'b'", {MINE: GOOD}),
    Bad("empty texts", HERE, "train-2", "empty: drop", {MINE: GOOD.replace("message 2,", "  ,")}),
    Bad("pair without its second column", f"{HERE} data.input=[text,other]", "'other'", "input:", {MINE: GOOD}),
    Bad("input that is the target", f"{HERE} data.target=text", "target is 'text'", "expected different columns: name another", {MINE: GOOD}),
    Bad("few labels beside a whole validation", f"{HERE} +data.validation=data/raw/t.csv prepare.labels_per_class=2", "prepare.labels_per_class", "null", {MINE: GOOD, "data/raw/t.csv": table("x,a", "y,b")}),
    Bad("few labels of a number", f"{HERE} use.task=regress prepare.labels_per_class=2", "prepare.labels_per_class", "null", {MINE: table(*messages(20, "123"))}),
    Bad("source data that stand in test", "prepare use.pretrain=supervised", "source data", "leaks: drop"),
    Bad("source data that are not there", "prepare use.pretrain=supervised use.source=mine", "no file data/raw/mine.csv", "put it there"),
    Bad("source data of fewer rows than a batch", "prepare use.pretrain=supervised use.source=mine", "train of the source data has only", "lower it", {MINE: table(*messages(12))}),
]  # fmt: skip

IMAGES = [
    Bad("image cut off", PIXELS, "ants/x.png: damaged", "repair or remove", folder() | {"data/raw/pictures/ants/x.png": picture()[:48]}),
    Bad("text called png", PIXELS, "ants/x.png: not an image", "repair or remove", folder() | {"data/raw/pictures/ants/x.png": b"hello"}),
    Bad("empty image file", PIXELS, "ants/x.png", "repair or remove", folder() | {"data/raw/pictures/ants/x.png": b""}),
    Bad("image that claims to be huge", PIXELS, "ants/x.png: more than 64000000 pixels", "repair or remove", folder() | {"data/raw/pictures/ants/x.png": bomb()}),
    Bad("moving image", PIXELS, "ants/x.gif: several frames", "repair or remove", folder() | {"data/raw/pictures/ants/x.gif": picture(0, "GIF", save_all=True, append_images=[PIL.Image.new("RGB", (9, 9), "red")])}),
    Bad("the same image in two splits", PIXELS, "inputs of train are also in test", "remove one copy", {f"data/raw/pictures/{s}/{n}": c for s in ("train", "test") for n, c in PICTURES.items()}),
    Bad("empty folder", PIXELS, "data/raw/pictures has no images", "<class>/<image>", {"data/raw/pictures/": b""}),
    Bad("no folder", PIXELS, "data/raw/pictures", "put it there"),
    Bad("no class folders", PIXELS, "in no class folder", "move each", folder({n.replace("/", "_"): c for n, c in PICTURES.items()})),
    Bad("one class folder", PIXELS, "single class 'ants'", "at least two", folder({n: c for n, c in PICTURES.items() if n.startswith("ants")})),
    Bad("another file among images", PIXELS, "ants/notes.txt", "remove them", folder() | {"data/raw/pictures/ants/notes.txt": b"hello"}),
    Bad("image beside the splits", PIXELS, "wasps/1.png", "move them", folder({f"train/{n}": c for n, c in PICTURES.items()}) | {"data/raw/pictures/wasps/1.png": picture()}),
    Bad("no size", PIXELS, "conf/data/pictures.yaml lacks the key 'size'", "add it", folder() | {"conf/data/pictures.yaml": edited("size: 8\n", "")}),
    Bad("size of nothing", f"{PIXELS} data.size=0", "size is 0", "above 0", folder()),
    Bad("digest of a folder", f"{PIXELS} +data.sha256=00", "sha256:", "give the archive", folder()),
    Bad("images to a network of texts", PIXELS.replace("prepare", "pretrain_load"), "teacher tiny is for text", "choose another", folder()),
    Bad("zip with a path outside", f"{PIXELS} data.path=data/raw/t.zip", "../evil.png", "do not trust it", {"data/raw/t.zip": zipped(PICTURES | {"../evil.png": picture()})}),
    Bad("zip with an absolute path", f"{PIXELS} data.path=data/raw/t.zip", "/etc/evil.png", "do not trust it", {"data/raw/t.zip": zipped(PICTURES | {"/etc/evil.png": picture()})}),
    Bad("encrypted zip", f"{PIXELS} data.path=data/raw/t.zip", "bees/8.png) encrypted", "unpack it", {"data/raw/t.zip": zipped(flag_bits=1)}),
    Bad("zip that claims to be huge", f"{PIXELS} data.path=data/raw/t.zip", "t.zip", "unpack it", {"data/raw/t.zip": zipped(file_size=1 << 50)}),
    Bad("zip cut off", f"{PIXELS} data.path=data/raw/t.zip", "t.zip", "get it again", {"data/raw/t.zip": half(zipped())}),
    Bad("tar with a path outside", f"{PIXELS} data.path=data/raw/t.tar", "../evil.png", "do not trust it", {"data/raw/t.tar": tarred(name="../evil.png")}),
    Bad("tar with a link", f"{PIXELS} data.path=data/raw/t.tar", "ants/more.png) links", "pack it again", {"data/raw/t.tar": tarred(type=tarfile.SYMTYPE, linkname="/etc/passwd")}),
    Bad("tar with a device", f"{PIXELS} data.path=data/raw/t.tar", "ants/more.png) links or devices", "pack it again", {"data/raw/t.tar": tarred(type=tarfile.FIFOTYPE)}),
    Bad("tar.gz cut off", f"{PIXELS} data.path=data/raw/t.tar.gz", "t.tar.gz", "get it again", {"data/raw/t.tar.gz": half(tarred("gz"))}),
    Bad("text called zip", f"{PIXELS} data.path=data/raw/t.zip", "t.zip", "get it again", {"data/raw/t.zip": b"hello"}),
    Bad("archive at a url that does not answer", f"{PIXELS} data.path=http://127.0.0.1:9/t.zip", "127.0.0.1:9/t.zip", "network"),
]  # fmt: skip

CONFIG = [
    Bad("section misspelt", "prepare", "'distil'", "'distill'", {"params.yaml": edited("distill:", "distil:")}),
    Bad("key misspelt", "prepare", "'epoch'", "did you mean 'epochs'", {"params.yaml": edited("epochs:", "epoch:")}),
    Bad("key of an override misspelt", "prepare fine_tune.lrr=1", "fine_tune in params.yaml has the key 'lrr'", "did you mean 'lr'"),
    Bad("section of an override misspelt", "prepare finetune.lr=1", "finetune", "did you mean 'fine_tune'"),
    Bad("role of an override misspelt", "prepare use.teachr=tiny", "teachr", "did you mean 'teacher'"),
    Bad("key of a piece misspelt", "prepare loss.temprature=2", "temprature", "did you mean 'temperature'"),
    Bad("key of a piece misspelt, with a plus", "prepare +loss.temprature=2", "'temprature'", "did you mean 'temperature'"),
    Bad("word for a number", "prepare distill.lr=fast", "distill", "'fast'"),
    Bad("part of an epoch", "prepare fine_tune.epochs=1.5", "fine_tune", "1.5"),
    Bad("number for a switch", "prepare export.int8=maybe", "export", "int8"),
    Bad("share above one", "prepare fine_tune.warmup=1.5", "fine_tune.warmup is 1.5", "in [0, 1)"),
    Bad("no epochs", "prepare distill.epochs=0", "distill.epochs is 0", "above 0"),
    Bad("rate below zero", "prepare fine_tune.lr=-1", "fine_tune.lr is -1", "above 0"),
    Bad("rate that is no number", "prepare fine_tune.lr=nan", "fine_tune.lr is nan", "above 0"),
    Bad("rate without end", "prepare fine_tune.lr=inf", "fine_tune.lr is inf", "a number above 0"),
    Bad("coverage above one", "prepare evaluate.confidence=1.5", "evaluate.confidence is 1.5", "in (0, 1)"),
    Bad("share of a split too large", "prepare prepare.test=0.9", "prepare.test is 0.9", "in (0, 0.5]"),
    Bad("folds and seeds", "prepare fine_tune.folds=2 fine_tune.seeds=2", "fine_tune.folds is 2", "1 where seeds is more"),
    Bad("seed that is a word", "prepare seed=many", "seed is 'many'", "whole number"),
    Bad("seed below zero", "prepare seed=-1", "seed is -1", "whole number"),
    Bad("unknown teacher", "prepare use.teacher=minlm", "use.teacher is 'minlm'", "did you mean 'minilm'"),
    Bad("unknown data", "prepare use.data=suport", "use.data is 'suport'", "did you mean 'support'"),
    Bad("unknown loss, in short", "prepare loss=kdd", "use.loss is 'kdd'", "did you mean 'kd'"),
    Bad("unknown trainer", "prepare trainer=gpuu", "gpuu", "gpu"),
    Bad("unknown knob of the trainer", "fine_tune +trainer.device=2", "trainer", "device"),
    Bad("no threads", "prepare trainer.threads=0", "trainer", "threads"),
    Bad("threads in words", "prepare trainer.threads=many", "trainer", "threads"),
    Bad("devices in words", "fine_tune trainer.devices=many", "trainer", "devices"),
    Bad("precision that is not there", "fine_tune trainer.precision=17", "17", "precision"),
    Bad("word without a value", "prepare toy", "'toy' on the command line has no value", "<key>=<value>"),
    Bad("override that does not parse", "prepare 'fine_tune.lr=[1'", "input '[1'", "on the command line"),
    Bad("params.yaml that does not parse", "prepare", "params.yaml does not parse", "line", {"params.yaml": "use: {data: ["}),
    Bad("params.yaml with a tab", "prepare", "params.yaml", "line", {"params.yaml": "seed: 0\nuse:\n\tdata: toy\n"}),
    Bad("params.yaml with a key twice", "prepare", "params.yaml", "seed", {"params.yaml": edited("seed: 0", "seed: 0\nseed: 1")}),
    Bad("params.yaml that is empty", "prepare", "params.yaml lacks the key", "'use'", {"params.yaml": ""}),
    Bad("params.yaml that is a list", "prepare", "params.yaml is a list", "expected keys with values", {"params.yaml": "- seed\n- use\n"}),
    Bad("params.yaml that is a word", "prepare", "params.yaml has the key 'hello'", "known keys: seed, use", {"params.yaml": "hello\n"}),
    Bad("params.yaml that is no text", "prepare", "params.yaml does not parse", "from git again", {"params.yaml": b"\xff\xfe\x00"}),
    Bad("section without keys", "prepare", "evaluate", "resamples", {"params.yaml": lambda c: c[: c.index(b"evaluate:")] + b"evaluate:\n"}),
    Bad("section that is a number", "prepare", "evaluate", "resamples", {"params.yaml": lambda c: c[: c.index(b"evaluate:")] + b"evaluate: 3\n"}),
    Bad("use without a role", "prepare", "use in params.yaml lacks the key 'teacher'", "add it", {"params.yaml": edited("  teacher: tiny\n", "")}),
    Bad("use that is a word", "prepare", "use in params.yaml is 'toy'", "a name for each of", {"params.yaml": lambda c: b"use: toy\n" + c[c.index(b"prepare:"):] + b"seed: 0\n"}),
    Bad("role without a name", "prepare use.teacher=null", "use.teacher", "there are"),
    Bad("role that is a list", "prepare", "use.teacher", "there are", {"params.yaml": edited("teacher: tiny", "teacher: [tiny]")}),
    Bad("piece in params.yaml", "prepare", "'loss'", "nothing reads", {"params.yaml": edited("seed: 0", "seed: 0\nloss: {temperature: 9.0}")}),
    Bad("piece that does not parse", HERE, "mine.yaml", "Correct it in conf/", {"conf/data/mine.yaml": "train: ["}),
    Bad("piece that is empty", HERE, "conf/data/mine.yaml", "_target_", {"conf/data/mine.yaml": ""}),
    Bad("piece without _target_", HERE, "conf/data/mine.yaml", "_target_", {"conf/data/mine.yaml": "train: a.csv\n"}),
    Bad("piece that is a list", HERE, "conf/data/mine.yaml has no _target_", "expected keys", {"conf/data/mine.yaml": "- a\n"}),
    Bad("_target_ of no module", HERE, "conf/data/mine.yaml: _target_ decant.data.tabel.Table", "cannot be imported", {"conf/data/mine.yaml": edited("table.Table", "tabel.Table")}),
    Bad("_target_ of no class", HERE, "decant.data.table.Tabel", "did you mean 'Table'", {"conf/data/mine.yaml": edited("Table", "Tabel")}),
    Bad("_target_ of another kind", HERE, "_target_ decant.loss.none.NoDistillation is no Source", "choose one", {"conf/data/mine.yaml": "_target_: decant.loss.none.NoDistillation\n"}),
    Bad("piece with an unknown key", HERE, "conf/data/mine.yaml has the key 'inptu'", "did you mean 'input'", {"conf/data/mine.yaml": edited("input:", "inptu:")}),
    Bad("piece without a key", HERE, "conf/data/mine.yaml lacks the key 'input'", "add it", {"conf/data/mine.yaml": edited("input: text\n", "")}),
    Bad("piece without a file", HERE, "names no file", "train", {"conf/data/mine.yaml": edited("train: data/raw/mine.csv\n", "")}),
    Bad("variable that is not set", HERE, "'NOWHERE' not found", "Correct it in conf/", {"conf/data/mine.yaml": edited("data/raw", "${oc.env:NOWHERE}")}),
    Bad("value of a piece that is not known", f"{HERE} +data.leaks=ignore", "leaks is 'ignore'", "refuse, drop"),
    Bad("value of a piece of another type", f"{HERE} data.train=[a.csv]", "conf/data/mine.yaml: train is ['a.csv']", "expected str"),
    Bad("number for a column", f"{HERE} data.input=3", "conf/data/mine.yaml: input is 3", "expected str", {MINE: GOOD}),
    Bad("bounds the wrong way round", "prepare use.task=regress task.low=5 task.high=1", "low is 5", "low below high"),
    Bad("temperature below zero", "prepare loss.temperature=-1", "conf/loss/kd.yaml: temperature is -1", "above 0"),
    Bad("temperature in words", "prepare loss.temperature=hot", "conf/loss/kd.yaml: temperature is 'hot'", "expected float"),
    Bad("augmentation for images", "pretrain_load use.augment=flip", "augment flip is for image data", "augment none"),
    Bad("student for images", "pretrain_load use.student=vit_small", "student vit_small is for image data", "choose another"),
    Bad("adaptation without weights", "pretrain_load use.adapt=lora", "adapt lora builds on pretrained weights", "choose adapt full"),
    Bad("loss that needs classes", "fine_tune use.task=multilabel use.loss=dkd", "loss dkd compares probabilities", "choose kd"),
    Bad("smoothing of numbers", "fine_tune use.task=regress fine_tune.label_smoothing=0.1", "fine_tune.label_smoothing is 0.1", "set it to 0.0"),
    Bad("loss that needs one teacher", "fine_tune use.loss=hint fine_tune.seeds=2", "fine_tune.seeds is 2", "choose one teacher"),
    Bad("teachers as a list", "distill distill.teachers=[data/raw/x]", "distill.teachers=[data/raw/x]", "on the command line"),
    Bad("teachers with other predictions", "distill distill.teachers={data/fine_tune:'00'}", "data/fine_tune/predictions.parquet", "expected 00"),
    Bad("teachers without predictions", "distill distill.teachers={data/raw/x:'00'}", "data/raw/x, which has no predictions.parquet", "leave it out"),
    Bad("student cut from another origin", "pretrain_load distill.init_from=teacher use.student=lstm", "not of one origin", "distill.init_from pretrained"),
    Bad("pruning on several devices", "fine_tune export.prune=0.5 trainer=ddp_cpu", "export.prune is for one device", "set it to 0"),
    Bad("batch that devices cannot share", "fine_tune fine_tune.batch_size=15 trainer=ddp_cpu", "batch_size is 15", "multiple of 2", forked=True),
    Bad("batch above the rows", "fine_tune fine_tune.batch_size=1000", "fine_tune.batch_size is 1000", "lower it"),
    Bad("batch of the student above the rows", "fine_tune distill.batch_size=1000", "distill.batch_size is 1000", "lower it"),
    Bad("batch above a fold", "fine_tune fine_tune.folds=2 fine_tune.batch_size=60", "fine_tune.batch_size is 60", "lower it"),
    Bad("more folds than rows", "fine_tune fine_tune.folds=5000", "fine_tune.folds is 5000", "lower folds"),
    Bad("texts longer than a network knows", "pretrain_load fine_tune.max_length=9999", "fine_tune: max_length is 9999", "lower it"),
    Bad("texts longer than the student knows", "pretrain_load distill.max_length=9999", "distill: max_length is 9999", "lower it"),
    Bad("modules that are not there", "fine_tune use.teacher=weights use.adapt=lora adapt.targets=[nowhere]", "nowhere", "targets"),
]  # fmt: skip

LOADED = [
    Bad("no folder of weights", f"{LOAD} teacher.path=data/raw/nowhere", "no config.json in data/raw/nowhere", "put it there"),
    Bad("no config.json", LOAD, "no config.json in data/raw/weights", "put it there", {f"{WEIGHTS}/config.json": None}),
    Bad("config.json that is not JSON", LOAD, "data/raw/weights/config.json' is not a valid JSON file", "get it again", {f"{WEIGHTS}/config.json": half}),
    Bad("config.json that is a list", LOAD, "data/raw/weights cannot be read", "get it again", {f"{WEIGHTS}/config.json": "[]"}),
    Bad("config.json without a kind", LOAD, "`model_type` key in its config.json", "get it again", {f"{WEIGHTS}/config.json": "{}"}),
    Bad("config.json of an unknown kind", LOAD, "model type `brt`", "name another in conf/backbone/", {f"{WEIGHTS}/config.json": edited('"bert"', '"brt"')}),
    Bad("config.json that asks for code", LOAD, "contains custom code", "name another in conf/backbone/", {f"{WEIGHTS}/config.json": changed(model_type="brt", auto_map={"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}), f"{WEIGHTS}/evil.py": "open('owned', 'w')\n"}),
    Bad("config.json of other shapes", LOAD, "data/raw/weights has weights of other shapes than its config.json says", "get it again", {f"{WEIGHTS}/config.json": changed(hidden_size=48)}),
    Bad("config.json of more layers", LOAD, "data/raw/weights lacks weights", "get it again", {f"{WEIGHTS}/config.json": changed(num_hidden_layers=3)}),
    Bad("no model.safetensors", LOAD, "no model.safetensors in data/raw/weights", "safetensors", {f"{WEIGHTS}/model.safetensors": None}),
    Bad("pickle alone", LOAD, "no model.safetensors in data/raw/weights", "never a pickle", {f"{WEIGHTS}/model.safetensors": None, f"{WEIGHTS}/pytorch_model.bin": b"\x80"}),
    Bad("weights cut off", LOAD, "data/raw/weights/model.safetensors cannot be read", "get it again", {f"{WEIGHTS}/model.safetensors": half}),
    Bad("empty weights", LOAD, "data/raw/weights/model.safetensors cannot be read", "get it again", {f"{WEIGHTS}/model.safetensors": b""}),
    Bad("other weights than their digest", f"{LOAD} +teacher.sha256=00", "expected 00", "conf/backbone/"),
    Bad("no tokenizer", LOAD, "data/raw/weights", "tokenizer", {f"{WEIGHTS}/tokenizer.json": None, f"{WEIGHTS}/tokenizer_config.json": None}),
    Bad("tokenizer that is not JSON", LOAD, "tokenizer in data/raw/weights cannot be read", "get it again", {f"{WEIGHTS}/tokenizer.json": half}),
    Bad("network of images for texts", "pretrain_load use.teacher=weights", "data/raw/weights lacks weights", "name another in conf/backbone/", {f"{WEIGHTS}/config.json": '{"model_type": "resnet"}'}),
    Bad("layers that are not there", f"{LOAD} +teacher.layers=[0,9]", "layers is [0, 9]", "from 0 to 1"),
    Bad("more neurons than there are", f"{LOAD} +teacher.intermediate_size=9999", "intermediate_size is 9999", "at most 64"),
    Bad("change that a network does not know", f"{LOAD} +teacher.config.hidden=3", "'hidden'", "its keys"),
    Bad("branch of the hub", "pretrain_load use.teacher=distilbert teacher.revision=main", "'main'", "40 hexadecimal digits"),
    Bad("hub without network", "pretrain_load use.teacher=distilbert", "cannot be fetched", "check the id, the revision and the network"),
    Bad("package that is not installed", f"{LOAD} ~teacher.path +teacher.package=nowhere_at_all +teacher.sha256=00", "nowhere_at_all", "pip install"),
    Bad("package without a digest", f"{LOAD} ~teacher.path +teacher.package=json", "sha256:", "needs"),
    Bad("two origins", f"{LOAD} +teacher.package=json", "package, path", "exactly one"),
    Bad("architecture misspelt", "pretrain_load use.data=digits use.teacher=resnet_tiny use.student=resnet_tiny use.scratch=resnet_tiny scratch.architecture=rsnet", "'rsnet'", "did you mean 'resnet'"),
]  # fmt: skip

ENVIRONMENT = [
    Bad("server that does not answer", "prepare", "http://127.0.0.1:9", "start it", env={"MLFLOW_TRACKING_URI": "http://me:s3cret@127.0.0.1:9"}, forked=True),
    Bad("store of files", "prepare", "'file:./mlruns'", "unset it", env={"MLFLOW_TRACKING_URI": "file:./mlruns"}, forked=True),
    Bad("store by a relative path", "prepare", "'sqlite:///mlflow.db'", "absolute", env={"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, forked=True),
    Bad("store without a driver", "prepare", "postgresql://db/x cannot be used", "a database needs its driver", env={"MLFLOW_TRACKING_URI": "postgresql://me:s3cret@db/x"}, forked=True),
    Bad("file for the folder of a stage", "prepare", "data/prepare cannot be written", "free the path", {"data/prepare": b"x"}),
    Bad("file for the folder of data", "prepare", "cannot be written", "free the path", {"data": b"x"}),
    Bad("no params.yaml", "prepare", "no params.yaml", "run from the project folder", {"params.yaml": None}),
    Bad("no conf", "prepare", "conf", "run from the project folder", {"conf": None}),
    Bad("unknown DECANT_TRAINER", "prepare", "gpuu", "gpu", env={"DECANT_TRAINER": "gpuu"}),
    Bad("no GPU", "fine_tune", "this machine shows none", "trainer=cpu", env={"DECANT_TRAINER": "gpu", "CUDA_VISIBLE_DEVICES": ""}),
    Bad("fine-tune without prepare", "fine_tune", "data/prepare/card.json", "dvc repro", {"data/prepare": None}),
    Bad("fine-tune without pretrain-load", "fine_tune", "data/pretrain_load/teacher", "dvc repro", {"data/pretrain_load": None}),
    Bad("distill without fine-tune", "distill", "data/fine_tune", "dvc repro", {"data/fine_tune": None}),
    Bad("evaluate without distill", "evaluate", "data/distill", "dvc repro", {"data/distill": None}),
    Bad("pretraining without prepare", "pretrain_load use.pretrain=supervised", "data/prepare/source", "dvc repro", {"data/prepare": None}),
    Bad("no card.json", "evaluate", "data/prepare/card.json", "dvc repro", {"data/prepare/card.json": None}),
    Bad("half a card.json", "fine_tune", "data/prepare/card.json", "dvc repro", {"data/prepare/card.json": half}),
    Bad("no table of a split", "fine_tune", "data/prepare/test.parquet", "dvc repro", {"data/prepare/test.parquet": None}),
    Bad("half a table", "fine_tune", "data/prepare/train.parquet", "dvc repro", {"data/prepare/train.parquet": half}),
    Bad("half predictions of the teacher", "distill", "data/fine_tune/predictions.parquet", "dvc repro", {"data/fine_tune/predictions.parquet": half}),
    Bad("no predictions of the teacher", "distill", "data/fine_tune/predictions.parquet", "dvc repro", {"data/fine_tune/predictions.parquet": None}),
    Bad("tables of other digests", "distill", "data/prepare/train.parquet", "dvc repro", {"data/prepare/card.json": lambda c: c.replace(b'"sha256": "', b'"sha256": "0')}),
    Bad("half the weights to start from", "fine_tune", "data/pretrain_load/teacher", "dvc repro", {"data/pretrain_load/teacher/config.json": half}),
    Bad("no manifest of the weights", "fine_tune", "data/pretrain_load/teacher/manifest.json", "dvc repro", {"data/pretrain_load/teacher/manifest.json": None}),
    Bad("no tokenizer of the student", "distill", "data/pretrain_load/student", "dvc repro", {"data/pretrain_load/student/tokenizer.json": None, "data/pretrain_load/student/tokenizer_config.json": None}),
    Bad("half the weights of the student", "evaluate", "data/distill/model.safetensors", "dvc repro", {"data/distill/model.safetensors": half}),
    Bad("half the file for ONNX Runtime", "evaluate", "data/distill/onnx", "dvc repro", {"data/distill/onnx/model.onnx": half}),
    Bad("no predictions of the student", "evaluate", "data/distill/predictions.parquet", "dvc repro", {"data/distill/predictions.parquet": None}),
]  # fmt: skip

COMMANDS = [
    Bad("comparison with nowhere", "cli compare nowhere .", "data/evaluate/rows.parquet of 'nowhere' is not here", "dvc pull"),
    Bad("comparison with a run that is not there", f"cli compare {'0' * 32} .", f"run {'0' * 32}", "expected the run of an invocation", forked=True),
    Bad("comparison with one alone", "cli compare .", "Missing argument 'B'", "decant compare --help"),
    Bad("verification of what is not committed", "cli verify", "no dvc.lock is committed", "commit what git status shows"),
    Bad("seeds that are none", "cli experiment --seeds 0", "'0'", "1 or more"),
    Bad("seeds and a seed", "cli experiment --seeds 3 -S seed=1", "no -S seed=", "0 to SEEDS - 1"),
    Bad("seeds in words", "cli experiment --seeds many", "'many'", "1 or more"),
    Bad("unknown command", "cli predct", "'predct'", "Did you mean 'predict'"),
    Bad("unknown experiment", "cli experiment --experiment digit", "conf/experiment/digit.yaml", "did you mean 'digits'"),
    Bad("experiment without a name", "cli experiment --experiment", "--experiment", "requires an argument"),
    Bad("experiment file with a key misspelt", "cli experiment --experiment part", "conf/experiment/part.yaml has the key 'fine_tune.epoch'", "did you mean 'fine_tune.epochs'", {"conf/experiment/part.yaml": "fine_tune: {epoch: 1}\n"}),
    Bad("default experiment without all keys", "cli experiment --experiment digits", "conf/experiment/default.yaml lacks the key 'use.data'", "add it", {"conf/experiment/default.yaml": "seed: 1\n"}),
    Bad("experiment file that does not parse", "cli experiment --experiment part", "part.yaml does not parse", "correct it", {"conf/experiment/part.yaml": "seed: ["}),
    Bad("experiment in a folder that DVC deletes", "cli experiment --temp", "--temp", "leave it out"),
    Bad("experiment with a key misspelt", "cli experiment -S fine_tune.lrr=1e-3", "fine_tune in params.yaml has the key 'lrr'", "did you mean 'lr'"),
    Bad("experiment with a role misspelt", "cli experiment -S use.teachr=tiny", "teachr", "did you mean 'teacher'"),
    Bad("experiment with an unknown name", "cli experiment -S use.loss=kdd", "'kdd'", "did you mean 'kd'"),
    Bad("experiment with a value out of range", "cli experiment -S fine_tune.warmup=2", "fine_tune.warmup is 2", "in [0, 1)"),
    Bad("experiment with pieces that do not go together", "cli experiment -S use.augment=flip", "augment flip", "augment none"),
    Bad("experiment with -S alone", "cli experiment -S", "-S", "expected one argument"),
    Bad("experiment with a word for -S", "cli experiment -S fine_tune.lr", "'fine_tune.lr' on the command line has no value", "<key>=<value>"),
    Bad("printed config with a bad value", "cli config fine_tune.warmup=2", "fine_tune.warmup is 2", "in [0, 1)"),
    Bad("predict from no file", f"{PREDICT} nowhere.csv", "there is no file nowhere.csv", "give the path"),
    Bad("predict by no model", f"{PREDICT} --model nowhere {MINE}", "there is no folder nowhere", "--model names", {MINE: GOOD}),
    Bad("predict by a folder that is no model", f"{PREDICT} --model data/raw {MINE}", "data/raw holds neither", "dvc repro", {MINE: GOOD}),
    Bad("predict by half a model", f"{PREDICT} {MINE}", "data/distill/int8/model.onnx", "dvc repro", {MINE: GOOD, "data/distill/int8/model.onnx": half}),
    Bad("predict by a model with half a config.json", f"{PREDICT} {MINE}", "data/distill/config.json", "dvc repro", {MINE: GOOD, "data/distill/config.json": half}),
    Bad("predict by a model without tokenizer", f"{PREDICT} {MINE}", "data/distill/tokenizer.json", "dvc repro", {MINE: GOOD, "data/distill/tokenizer.json": None}),
    Bad("predict by a model with half a tokenizer", f"{PREDICT} {MINE}", "data/distill/tokenizer.json", "dvc repro", {MINE: GOOD, "data/distill/tokenizer.json": half}),
    Bad("predict by a format that is not there", f"{PREDICT} {MINE} --model-format int4", "int4", "int8", {MINE: GOOD}),
    Bad("predict from no column", f"{PREDICT} {MINE} --column txt", "'txt'", "did you mean 'text'", {MINE: GOOD}),
    Bad("predict from one of several columns", f"{PREDICT} data/raw/t.csv", "a, b", "--column NAME", {"data/raw/t.csv": "a,b\n1,2\n"}),
    Bad("predict from semicolons", f"{PREDICT} {MINE} --column text", "mine.csv looks separated by ';'", "expected ','", {MINE: GOOD.replace(",", ";")}),
    Bad("predict from a ragged table", f"{PREDICT} {MINE}", "mine.csv, line 4", "expected 2", {MINE: GOOD.replace("message 2", "mess,age 2")}),
    Bad("predict from a broken json line", f"{PREDICT} data/raw/t.jsonl", "t.jsonl, line 2", "not JSON", {"data/raw/t.jsonl": '{"text": "a"}\n{"text"\n'}),
    Bad("predict from half a parquet", f"{PREDICT} data/raw/t.parquet", "t.parquet cannot be read as Parquet", "get it again", {"data/raw/t.parquet": half(parquet(text=["a"]))}),
    Bad("predict from latin-1", f"{PREDICT} {MINE}", "mine.csv, line 2", "iconv", {MINE: table("café,a").encode("latin-1")}),
    Bad("predict from a binary file", f"{PREDICT} data/raw/t.bin", "t.bin, line 2: not UTF-8", "iconv", {"data/raw/t.bin": bytes(range(256))}),
    Bad("predict texts from an image", f"{PREDICT} data/raw/t.png", "t.png is an image", "give it texts", {"data/raw/t.png": picture()}),
    Bad("predict texts from a folder", f"{PREDICT} data/raw", "data/raw cannot be read", "Is a directory"),
    Bad("predict no classes", f"{PREDICT} --top-k 0 {MINE}", "--top-k", "1 or more", {MINE: GOOD}),
    Bad("predict many classes in words", f"{PREDICT} --top-k many {MINE}", "'many'", "1 or more", {MINE: GOOD}),
    Bad("predict in no batches", f"{PREDICT} --batch-size 0 {MINE}", "--batch-size", "1 or more", {MINE: GOOD}),
    Bad("predict to an unknown format", f"{PREDICT} --format xml {MINE}", "xml", "csv", {MINE: GOOD}),
    Bad("predict to a table that it cannot write", f"{PREDICT} --output o.parquet {MINE}", "o.parquet", ".csv", {MINE: GOOD}),
    Bad("predict to no folder", f"{PREDICT} --output no/o.csv {MINE}", "there is no folder no", "make it first", {MINE: GOOD}),
    Bad("predict to a folder", f"{PREDICT} --output data {MINE}", "data is a folder", "the name of a file", {MINE: GOOD}),
    Bad("predict by an unknown option", f"{PREDICT} --columm text {MINE}", "--columm", "Possible options: --column", {MINE: GOOD}),
]  # fmt: skip

TABLE = {
    "data": DATA,
    "images": IMAGES,
    "config": CONFIG,
    "weights": LOADED,
    "environment": ENVIRONMENT,
    "command line": COMMANDS,
}
"""By kind."""
