"""Values of events as stores can encode them, and as JSON that is read back."""

import base64
from collections.abc import Mapping
from typing import Any


def encodable(value: Any) -> Any:
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
