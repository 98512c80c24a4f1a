import pytest

from decant.core.errors import UserError
from decant.models import dropout


def test_dropout_is_set_wherever_a_configuration_names_one() -> None:
    config = {"model_type": "x", "dropout": 0.3, "attn_pdrop": 0.1, "token_dropout": True, "classifier_dropout": None,
              "body": {"hidden_dropout_prob": 0.1, "layers": 2}}  # fmt: skip
    actual = dropout.with_dropout(config, 0.0)
    assert actual == config | {"dropout": 0.0, "attn_pdrop": 0.0, "body": {"hidden_dropout_prob": 0.0, "layers": 2}}
    assert config["dropout"] == 0.3
    with pytest.raises(UserError, match="but a resnet names no dropout; set it to null"):
        dropout.with_dropout({"model_type": "resnet", "classifier_dropout": None}, 0.1)
