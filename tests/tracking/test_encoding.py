import json

import pytest

from decant.tracking.encoding import decode_bytes, encodable, encode_bytes


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ü\n", "ü\n"),
        ("\udcff", "\\udcff"),
        ("a\0", "a\\0"),
        ({"\udcff": ["\udcff", {"a": "\0"}]}, {"\\udcff": ["\\udcff", {"a": "\\0"}]}),
        (b"\xff\0", b"\xff\0"),
        (1.5, 1.5),
    ],
)
def test_what_no_store_can_encode_is_escaped_and_the_rest_stays(value: object, expected: object) -> None:
    assert encodable(value) == expected


def test_bytes_are_read_back_from_json() -> None:
    assert json.loads(json.dumps([b"\xff"], default=encode_bytes), object_hook=decode_bytes) == [b"\xff"]
