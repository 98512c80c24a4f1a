"""Values of events as stores can hold them, and as JSON that is read back."""

import base64
import re
from collections.abc import Mapping
from typing import Any

from decant.core.redaction import redacted_values

MAX_PARAM_LENGTH = 6000
"""MLflow's limit on the characters of a parameter."""
NAME_CHARACTERS = re.compile(r"[^\w.: -]")
"""Those that the name of a parameter cannot hold, or that would make it a path."""


def encodable(value: object) -> Any:
    """`value` without what no store can encode: lone surrogates, from bytes that are no text, and NUL; both escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    if isinstance(value, Mapping):
        return {encodable(name): encodable(item) for name, item in value.items()}
    return [encodable(item) for item in value] if isinstance(value, list | tuple) else value


def encode_bytes(value: bytes) -> dict[str, str]:
    """For `json.dumps`."""
    return {"base64": base64.b64encode(value).decode()}


def decode_bytes(value: dict[str, Any]) -> Any:
    """For `json.loads`; see `encode_bytes`."""
    return base64.b64decode(value["base64"]) if value.keys() == {"base64"} else value


def flatten(value: object, prefix: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} → {"a.b": "1"}; without credentials."""
    if not isinstance(value, Mapping):
        return {prefix: str(redacted_values(value))[:MAX_PARAM_LENGTH]}
    texts = {key: NAME_CHARACTERS.sub("_", str(key)) for key in value}
    names = {key: f"{prefix}.{text}" if prefix else text for key, text in texts.items()}
    return {name: text for key, item in value.items() for name, text in flatten(item, names[key]).items()}
