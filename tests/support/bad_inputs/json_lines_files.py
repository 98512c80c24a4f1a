"""JSON lines: what is no object, no JSON, or no value that a table has."""

from support.bad_inputs.builders import GOOD, JSONL, ON_JSONL, Bad, Content, json_lines


def line(value: str) -> dict[str, Content]:
    """Forty good lines, and one with this value as its text."""
    return {JSONL: json_lines(f'{{"text": {value}, "intent": "a"}}')}


JSON_LINES = [
    Bad("json lines without bytes", ON_JSONL, "t.jsonl has no column 'text', 'intent'", "Name the columns", {JSONL: b""}),
    Bad("json lines of blanks", ON_JSONL, "t.jsonl has no column 'text', 'intent'", "Name the columns", {JSONL: "\n \n"}),
    Bad("a key twice in a line", ON_JSONL, "line 41: the key 'text' is there twice", "correct it", {JSONL: json_lines('{"text": "a", "intent": "a", "text": "b"}')}),
    Bad("lists without end in a line", ON_JSONL, "line 41: its values are too deep inside each other", "correct it", line("[" * 100_000)),
    Bad("objects without end in a line", ON_JSONL, "line 41: its values are too deep inside each other", "correct it", line('{"a": ' * 100_000)),
    Bad("a number of 5,000 digits in a line", ON_JSONL, "line 41: Exceeds the limit (4300 digits)", "correct it", line("9" * 5000)),
    Bad("two objects in a line", ON_JSONL, "line 41, column 30: Extra data", "correct it", {JSONL: json_lines('{"text": "a", "intent": "a"} ' '{"text": "b"}')}),
    Bad("an object over several lines", ON_JSONL, "line 1, column 2", "an object on each line", {JSONL: '{\n"text": "a",\n"intent": "a"\n}\n'}),
    Bad("a comma after the object", ON_JSONL, "line 41, column 29: Extra data", "correct it", {JSONL: json_lines('{"text": "a", "intent": "a"},')}),
    Bad("a comma after the last value", ON_JSONL, "line 41", "correct it", {JSONL: json_lines('{"text": "a", "intent": "a",}')}),
    Bad("single quotes", ON_JSONL, "line 41, column 2: Expecting property name", "correct it", {JSONL: json_lines("{'text': 'a', 'intent': 'a'}")}),
    Bad("keys without quotes", ON_JSONL, "line 41, column 2: Expecting property name", "correct it", {JSONL: json_lines('{text: "a", intent: "a"}')}),
    Bad("a comment", ON_JSONL, "line 41, column 1: Expecting value", "correct it", {JSONL: json_lines("// the end")}),
    Bad("a word of Python", ON_JSONL, "line 41, column 10: Expecting value", "correct it", line("None")),
    Bad("a control character in a text", ON_JSONL, "line 41, column 12: Invalid control character", "correct it", line('"a\tb"')),
    Bad("an unknown escape", ON_JSONL, "line 41, column 12: Invalid \\escape", "correct it", line(r'"a\x62"')),
    Bad("an open text", ON_JSONL, "line 41, column 15: Expecting", "correct it", line('"a')),
    Bad("a list as a line", ON_JSONL, "line 41 holds list, something else than an object", "an object on each line", {JSONL: json_lines("[1, 2]")}),
    Bad("a number as a line", ON_JSONL, "line 41 holds int", "an object on each line", {JSONL: json_lines("12")}),
    Bad("a text as a line", ON_JSONL, "line 41 holds str", "an object on each line", {JSONL: json_lines('"text"')}),
    Bad("nothing as a line", ON_JSONL, "line 41 holds NoneType", "an object on each line", {JSONL: json_lines("null")}),
    Bad("csv called jsonl", ON_JSONL, "line 1, column 1: Expecting value", "an object on each line", {JSONL: GOOD}),
    Bad("a text of two million characters in a line", ON_JSONL, "t.jsonl, row 41, column 'text': a cell of 2,000,000 characters", "shorten it", line(f'"{"x" * 2_000_000}"')),
    Bad("another key in each line", ON_JSONL, "10,002 keys, expected at most 10,000", "correct it", {JSONL: json_lines(*(f'{{"text": "{i}", "k{i}": 1, "l{i}": 1}}' for i in range(5000)))}),
    Bad("lists as texts in lines", ON_JSONL, "t.jsonl holds list as input", "name another column with input:", {JSONL: "".join(f'{{"text": ["{i}"], "intent": "{"ab"[i % 2]}"}}\n' for i in range(40))}),
    Bad("labels of lists and texts", ON_JSONL, "lists of labels", "use.task multilabel", {JSONL: json_lines('{"text": "x", "intent": ["a"]}')}),
    Bad("labels that no line has", ON_JSONL, "no column 'intent'; it has: 'text'", "Name the columns", {JSONL: '{"text": "a"}\n{"text": "b"}\n'}),
    Bad("labels that some lines lack", ON_JSONL, "train-40", "label them", {JSONL: json_lines('{"text": "x"}')}),
    Bad("texts that some lines lack", ON_JSONL, "train-40", "empty: drop", {JSONL: json_lines('{"intent": "a"}')}),
    Bad("keys in another case", ON_JSONL, "no column 'text'; it has: 'Text'", "Name the columns", {JSONL: "".join(f'{{"Text": "{i}", "intent": "a"}}\n' for i in range(40))}),
]  # fmt: skip
