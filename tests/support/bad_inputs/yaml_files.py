"""Yaml files: what does not parse, has no end, or is no value of an experiment."""

from support.bad_inputs.builders import HERE, PIECE, Bad, Content

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))


def params(text: str | bytes) -> dict[str, Content]:
    """A params.yaml of this text."""
    return {"params.yaml": text}


def piece(text: str) -> dict[str, Content]:
    """The good component with one more line."""
    return {PIECE: lambda content: content + text.encode()}


YAML_FILES = [
    Bad("a billion laughs", "prepare", "params.yaml has more than 20,000 values, its aliases unfolded", "from git again", params(LAUGHS)),
    Bad("a billion laughs in a component", HERE, "conf/data/mine.yaml has more than 20,000 values", "from git again", piece(LAUGHS)),
    Bad("a billion laughs in the wiring", HERE, "conf/config.yaml has more than 20,000 values", "from git again", {"conf/config.yaml": LAUGHS}),
    Bad("a billion laughs in a trainer", HERE, "conf/trainer/cpu.yaml has more than 20,000 values", "from git again", {"conf/trainer/cpu.yaml": LAUGHS}),
    Bad("a billion laughs in an experiment", "cli experiment --experiment part", "part.yaml has more than 20,000 values", "from git again", {"conf/experiment/part.yaml": LAUGHS}),
    Bad("an alias of a list inside it", "prepare", "params.yaml has the alias *a inside &a, and so no end", "correct it", params("seed: &a [*a]\n")),
    Bad("an alias of a mapping inside it", "prepare", "params.yaml has the alias *a inside &a, and so no end", "correct it", params("use: &a {data: *a}\n")),
    Bad("an alias inside itself in a component", HERE, "conf/data/mine.yaml has the alias *a inside &a", "correct it", piece("classes: &a [*a]\n")),
    Bad("an alias inside itself in an experiment", "cli experiment --experiment part", "part.yaml has the alias *a inside &a", "correct it", {"conf/experiment/part.yaml": "use: &a {data: *a}\n"}),
    Bad("lists without end", "prepare", "params.yaml has values 50 deep inside each other", "correct it", params("seed: " + "[" * 100_000)),
    Bad("mappings without end", "prepare", "params.yaml has values 50 deep inside each other", "correct it", params("seed: " + "{a: " * 50_000)),
    Bad("sequences without end", "prepare", "params.yaml has values 50 deep inside each other", "correct it", params("seed:\n" + "- " * 9999 + "x\n")),
    Bad("lists without end in a component", HERE, "conf/data/mine.yaml has values 50 deep inside each other", "correct it", piece("classes: " + "[" * 9999)),
    Bad("very many values", "prepare", "params.yaml has more than 20,000 values", "correct it", params(f"seed: [{'1,' * 30_000}]\n")),
    Bad("a value without end", "prepare", "params.yaml has a value of 2,000 characters", "expected at most 1,000", params(f"seed: {'x' * 2000}\n")),
    Bad("a key without end", "prepare", "params.yaml has a value of 1,001 characters", "expected at most 1,000", params(f"{'x' * 1001}: 1\n")),
    Bad("a number without end", "prepare", "params.yaml has a value of 5,000 characters", "expected at most 1,000", params(f"seed: {'9' * 5000}\n")),
    Bad("a large file", "prepare", "params.yaml has 300,009 bytes or more", "at most 262,144", params("seed: 0 #" + "x" * 300_000)),
    Bad("an undefined alias", "prepare", "found undefined alias 'b'", "correct it", params("seed: *b\n")),
    Bad("an anchor without a name", "prepare", "params.yaml does not parse", "line 1, column 7", params("seed: & 1\n")),
    Bad("two documents", "prepare", "params.yaml does not parse: expected a single document", "correct it", params("seed: 1\n---\nseed: 2\n")),
    Bad("a control character", "prepare", "params.yaml does not parse: unacceptable character #x0001", "correct it", params("seed: \x01\n")),
    Bad("a nul", "prepare", "params.yaml does not parse: unacceptable character #x0000", "correct it", params("seed: \0\n")),
    Bad("latin-1", "prepare", "params.yaml does not parse: 'utf-8' codec can't decode byte 0xe9", "from git again", params("seed: 0 # é\n".encode("latin-1"))),
    Bad("utf-16", "prepare", "params.yaml does not parse: 'utf-8' codec can't decode byte 0xff", "from git again", params("seed: 0\n".encode("utf-16"))),
    Bad("latin-1 in a component", HERE, "conf/data/mine.yaml does not parse: 'utf-8' codec", "from git again", {PIECE: "licence: é\n".encode("latin-1")}),
    Bad("an object of Python", "prepare", "could not determine a constructor for the tag", "correct it", params("seed: !!python/object/apply:os.system [ls]\n")),
    Bad("an object of Python in a component", HERE, "could not determine a constructor for the tag", "Correct it in conf/", piece("licence: !!python/name:os.system\n")),
    Bad("a tag of somebody", "prepare", "could not determine a constructor for the tag '!mine'", "correct it", params("seed: !mine 0\n")),
    Bad("a set", "prepare", "'set' is not a supported primitive type", "correct it", params("seed: !!set {a}\n")),
    Bad("a word as a number", "prepare", "params.yaml does not parse: invalid literal for int()", "correct it", params("seed: !!int many\n")),
    Bad("a thirteenth month", "prepare", "params.yaml does not parse: month must be in 1..12", "correct it", params("seed: !!timestamp 2026-13-01\n")),
    Bad("base64 cut off", "prepare", "params.yaml does not parse: failed to decode base64", "correct it", params('seed: !!binary "a"\n')),
    Bad("a list as a key", "prepare", "params.yaml does not parse", "found unhashable key", params("? [a]\n: 1\n")),
    Bad("nothing as a key", "prepare", "Incompatible key type 'NoneType'", "correct it", params("~: 1\n")),
    Bad("a colon too many", "prepare", "mapping values are not allowed in this context", "line 1", params("seed: 0: 1\n")),
    Bad("an open quote in yaml", "prepare", "while scanning a quoted scalar", "line 1", params('seed: "0\n')),
    Bad("an open bracket", "prepare", "params.yaml does not parse", "line", params("seed: [0\nuse: {}\n")),
    Bad("keys out of line", "prepare", "params.yaml does not parse", "line 3", params("use:\n  data: toy\n task: classify\n")),
    Bad("a percent sign at the start", "prepare", "params.yaml does not parse", "line", params("%seed: 0\n")),
    Bad("marks of a merge", "prepare", "params.yaml does not parse", "line", params("seed: 0\n<<<<<<< HEAD\nuse: 1\n=======\n")),
    Bad("json with a comment", "prepare", "params.yaml does not parse", "line", params('{"seed": 0, // many\n"use": {}}\n')),
    Bad("a reference that is not closed", "prepare", "params.yaml does not parse", "correct it", params("seed: ${use.\n")),
    Bad("a reference to itself", "prepare seed='${seed}'", "the config does not compose", "Correct it in conf/"),
    Bad("a reference to nothing", "prepare seed='${nowhere}'", "'nowhere' not found", "Correct it in conf/"),
    Bad("a reference to an unknown resolver", "prepare seed='${nowhere:x}'", "the config does not compose", "Correct it in conf/"),
    Bad("files that a component names", HERE, "conf/data/mine.yaml names other files in defaults:", "copy their values", piece("defaults: [toy]\n")),
    Bad("a component twice the same key", HERE, "found duplicate key input", "Correct it in conf/", piece("input: other\n")),
    Bad("a component that is a word", HERE, "conf/data/mine.yaml has no _target_", "expected keys", {PIECE: "hello\n"}),
    Bad("an experiment that is a list", "cli experiment --experiment part", "part.yaml is a list", "expected keys with values", {"conf/experiment/part.yaml": "- seed\n"}),
    Bad("an experiment with an unknown section", "cli experiment --experiment part", "part.yaml has the key 'distil.epochs'", "did you mean", {"conf/experiment/part.yaml": "distil: {epochs: 1}\n"}),
]  # fmt: skip
