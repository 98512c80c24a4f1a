"""What tests share: the project root, small tables, and a way to run a stage as a user does."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from finished import image_model, text_model

from decant.core.errors import UserError
from decant.data.hub import Hub

ROOT = Path(__file__).parents[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """conf/ and params.yaml in a folder of their own."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "raw").symlink_to(ROOT / "data" / "raw")
    return tmp_path


@pytest.fixture
def rows() -> pd.DataFrame:
    """Twelve messages of three classes."""
    words = ["alpha", "beta", "gamma", "delta"]
    return pd.DataFrame(
        [(f"{word} about {label}", label) for label in ("bills", "boxes", "beans") for word in words],
        columns=["text", "intent"],
    )


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """A pinned number of threads, as in a stage; networks as small as the tests' lose by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model of texts, in fp32 and in 8 bits."""
    return text_model(tmp_path_factory.mktemp("texts"), int8=True)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model that gives pairs of texts a number."""
    return text_model(tmp_path_factory.mktemp("pairs"), pairs=True, num_labels=1, problem_type="regression")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished model of images."""
    return image_model(tmp_path_factory.mktemp("images"))


def stage(name: str, *overrides: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m decant.<name>` in `cwd`, on this checkout's code."""
    return subprocess.run(
        [sys.executable, "-m", f"decant.{name}", *overrides],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def trusted(**given: Any) -> Hub:
    """A data set of the hub with the digests of what it holds, as the message about their lack gives them."""
    with pytest.raises(UserError, match="download without a digest") as told:
        Hub(**given).load()
    return Hub(**given, sha256=dict(re.findall(r"(\w+): ([0-9a-f]{64})", str(told.value))))
