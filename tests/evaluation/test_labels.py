"""Labels in pictures and in Markdown."""

import re

import pytest

from decant.evaluation import report
from decant.evaluation.labels import MAX_SHOWN, for_markdown, for_picture, printable

ODD = [
    "<script>alert(1)</script>",
    "a|b",
    "`a`",
    "a\nb",
    "a\r\nb",
    "[a](http://x)",
    "*a*",
    "_a_",
    "a\\|b",
    "&lt;",
    "~a~",
]


@pytest.mark.parametrize("label", ODD)
def test_a_label_stays_in_its_cell_of_a_markdown_table_and_is_no_markup(label: str) -> None:
    table = report.markdown_table(["class"], [[for_markdown(label)]]).splitlines()
    assert len(table) == 3
    cell = table[2].strip("| ")
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", cell)
    without_escapes = re.sub(r"\\.", "", cell)
    assert not set("|`*[]~") & set(without_escapes)
    assert not re.search(r"\b_|_\b", without_escapes)


@pytest.mark.parametrize(
    "label", ["billing", "card_arrival", "Rückgabe", "退款", "a - b: c, d (e)", "C# / .NET", "50 %", "📦"]
)
def test_an_ordinary_label_is_shown_as_it_is(label: str) -> None:
    assert for_markdown(label) == for_picture(label) == label


def test_hidden_characters_are_shown_as_escapes() -> None:
    assert printable("a\0\x1b[31m\u202eb\u2028\ufeff") == r"a\x00\x1b[31m\u202eb\u2028\ufeff"
    assert printable("👩\u200d👧 \u0645\u06cc\u200c\u062e") == "👩\u200d👧 \u0645\u06cc\u200c\u062e"


def test_a_long_label_is_shortened_in_its_middle_in_a_picture() -> None:
    shown = for_picture("start " + "x" * 10_000 + " end")
    assert len(shown) == MAX_SHOWN
    assert re.fullmatch(r"start x+\.\.\.x+ end", shown)
