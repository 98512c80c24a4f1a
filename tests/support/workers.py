"""Which tests share a worker of pytest-xdist, and what all workers share."""

import os
from pathlib import Path
from typing import Any

import pytest

GROUPS = {
    "clone": ("test_devices", "test_kill", "test_pipeline", "test_remote", "test_secrets", "test_stop"),
    "forks": ("test_bad_inputs", "test_limits", "test_outage", "test_prepare", "test_runs", "test_shared_store"),
    "distill": ("test_distill",),
    "models": (
        *(
            "test_fuzz",
            "test_manifest",
            "test_onnx",
            "test_packaging",
            "test_parquet",
            "test_predict",
            "test_predictor",
        ),
        *("test_pyfunc", "test_readers", "test_safety", "test_serve", "test_server", "test_settings"),
        *("test_text_preprocessing",),
    ),
    "images": ("test_images",),
    "stubs": ("test_experiment", "test_experiment_kills", "test_what_re_runs", "test_write_kills"),
    "checkpoint": ("test_checkpoint",),
}
"""Files whose tests share what takes long to build, and so a worker, or take long themselves. They start first, in
this order, the longest ahead, so that the workers end at about the same time. Each other file is a group of its own."""


def group_of(file: Path) -> str:
    """The group of a file of tests."""
    return next((name for name, files in GROUPS.items() if file.stem in files), str(file))


def order_of(file: Path) -> int:
    """The position of its group, to sort tests by."""
    return next((i for i, files in enumerate(GROUPS.values()) if file.stem in files), len(GROUPS))


def group_scheduling(config: pytest.Config, log: Any) -> object:
    """The scheduler of pytest-xdist that hands out group by group."""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(Path(nodeid.partition("::")[0]))

    return GroupScheduling(config, log)


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of all workers."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def built_once(factory: pytest.TempPathFactory, name: str) -> Path:
    """A new folder for what takes long to build.

    Raises:
        FileExistsError: another worker builds it too; the files of its tests belong in one of GROUPS.
    """
    folder = shared_folder(factory) / name
    folder.mkdir()
    return folder
