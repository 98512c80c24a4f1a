from types import SimpleNamespace

import pytest

from decant.core.errors import UserError, require, suggestion


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
