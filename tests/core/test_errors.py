from types import SimpleNamespace

import pytest

from decant.core import errors
from decant.core.errors import UserError, redacted, require, suggestion


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:hunter22@db/x", "postgresql://db/x"),
        ("http://127.0.0.1/a.csv?x=1&token=abc&y=2", "http://127.0.0.1/a.csv?x=1&token=***&y=2"),
        ("http://h/a?X-Amz-Signature=0f3a", "http://h/a?X-Amz-Signature=***"),
        ("http://h/a?sig=abc", "http://h/a?sig=***"),
        ("http://h/a?design=abc", "http://h/a?design=abc"),
        ("no secret here", "no secret here"),
    ],
)
def test_credentials_in_addresses_are_removed(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_values_of_variables_that_are_named_like_credentials_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SHOP_TOKEN": "tok-98hgf7dk2", "MY_PWD": "/a/folder/of/mine", "SHORT_KEY": "abc"}.items():
        monkeypatch.setenv(name, value)
    assert redacted("tok-98hgf7dk2 in /a/folder/of/mine, abc") == "*** in /a/folder/of/mine, abc"


def test_a_credential_that_contains_another_is_removed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "abcdefgh")
    monkeypatch.setenv("B_TOKEN", "abcdefgh-and-more")
    assert redacted("abcdefgh-and-more") == "***"


def test_a_variable_that_another_thread_removes_breaks_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    class Removing(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            raise KeyError(name)

        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            return default if name == "GONE_TOKEN" else super().get(name, default)

    monkeypatch.setattr(errors.os, "environ", Removing(GONE_TOKEN="hunter22222", DB_PASSWORD="swordfish"))
    assert redacted("hunter22222 swordfish") == "hunter22222 ***"


def test_an_error_holds_all_its_problems_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "tok-98hgf7dk2")
    error = UserError(["one", "two tok-98hgf7dk2"])
    assert error.problems == ["one", "two ***"]
    assert str(error) == "one\ntwo ***"
    assert UserError("one").problems == ["one"]


def test_every_invalid_attribute_is_named_with_what_was_expected() -> None:
    component = SimpleNamespace(low=5, high=1, share=0.5)
    with pytest.raises(UserError) as caught:
        require(component, low=(False, "less than high"), share=(True, "in [0, 1]"), high=(False, "more than low"))
    assert caught.value.problems == ["low is 5, expected less than high", "high is 1, expected more than low"]
    require(component, share=(True, "in [0, 1]"))


def test_a_misspelt_word_gets_a_suggestion_and_another_word_none() -> None:
    assert suggestion("epoch", ["epochs", "lr"]) == " (did you mean 'epochs'?)"
    assert suggestion("colour", ["epochs", "lr"]) == ""
