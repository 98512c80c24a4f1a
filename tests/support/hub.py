"""Data sets of the Hugging Face hub."""

import re
from typing import Any

import pytest

from decant.core.errors import UserError
from decant.data.hub import Hub


def hub_with_digests(**given: Any) -> Hub:
    """A data set of the hub with the digests of what it holds, as the message about their lack gives them."""
    with pytest.raises(UserError, match="download without a digest") as told:
        Hub(**given).load()
    return Hub(**given, sha256=dict(re.findall(r"(\w+): ([0-9a-f]{64})", str(told.value))))
