"""JSON lines as tables."""

import io
import json

import pytest

from decant.data.json_lines import read_json_lines

REFUSED = {
    "a key twice": (b'{"a": 1, "b": 2, "a": 3}', "line 2: the key 'a' is there twice"),
    "lists without end": (b'{"a": ' + b"[" * 100_000, "line 2: its values are too deep inside each other"),
    "5,000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "line 2: Exceeds the limit"),
    "half a line": (b'{"a": 1', "line 2, column 8"),
    "a list": (b"[1]", "line 2 holds list"),
    "a number": (b"1", "line 2 holds int"),
    "nothing": (b"null", "line 2 holds NoneType"),
    "two objects": (b"{}{}", "line 2, column 3: Extra data"),
    "single quotes": (b"{'a': 1}", "line 2, column 2"),
    "many keys": (json.dumps({str(i): i for i in range(10_001)}).encode(), "10,002 keys, expected at most 10,000"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_line_is_named_by_its_number(case: str) -> None:
    with pytest.raises(ValueError, match=r"line 2|keys") as caught:
        read_json_lines(io.BytesIO(b'{"x": 1}\n' + REFUSED[case][0] + b"\n"))
    assert REFUSED[case][1] in str(caught.value)


def test_columns_whose_names_sound_like_dates_stay_as_they_are() -> None:
    lines = b'\xef\xbb\xbf{"date": "1", "created_at": 1262304000, "text": "\xc3\xa9"}\n\n{"date": "2", "text": "b"}\n'
    frame = read_json_lines(io.BytesIO(lines))
    assert frame["date"].tolist() == ["1", "2"]
    assert frame["created_at"].tolist()[0] == 1262304000
    assert frame["text"].tolist() == ["é", "b"]
