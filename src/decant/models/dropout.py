"""Dropout in the configuration of a network."""

from typing import Any

from decant.core.errors import UserError


def with_dropout(config: dict[str, Any], probability: float) -> dict[str, Any]:
    """The content of a config.json with every dropout probability in it set to `probability`, in [0, 1).

    Raises:
        UserError: the configuration has no dropout.
    """
    body = config.get("body", {})  # decant's own networks hold the configuration of their backbone here
    keys, body_keys = dropout_keys(config), dropout_keys(body)
    if not keys and not body_keys:
        raise UserError(
            f"distill.dropout is {probability}, but a {config['model_type']} names no dropout; set it to null"
        )
    changed = config | dict.fromkeys(keys, probability)
    return changed | {"body": body | dict.fromkeys(body_keys, probability)} if body else changed


def dropout_keys(config: dict[str, object]) -> list[str]:
    """The keys of a configuration that hold a dropout probability; switches (true or false) are not."""
    return [
        key
        for key, value in config.items()
        if ("dropout" in key or key.endswith("pdrop"))
        and isinstance(value, float | int)
        and not isinstance(value, bool)
    ]
