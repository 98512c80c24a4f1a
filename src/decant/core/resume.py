"""Where an interrupted stage keeps its state, and which state belongs to it.

The state lies in .state/<stage>/<fingerprint>/, outside the outputs that DVC deletes before a stage starts. It is
deleted when the next stage starts: until then DVC may not have saved the output. The fingerprint covers everything that
decides the result, so a state is never resumed with another configuration, other data or other code.
"""

import hashlib
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from decant.core.environment import hardware, versions
from decant.core.hashing import digest

STATE = Path(".state")
STAGE_LOCK = STATE / "stage.lock"
"""Held while a stage runs in this folder."""
UPSTREAM: dict[str, tuple[str, ...]] = {
    "prepare": (),
    "pretrain_load": ("prepare",),
    "fine_tune": ("prepare", "pretrain_load"),
    "distill": ("prepare", "pretrain_load", "fine_tune"),
    "evaluate": ("prepare", "fine_tune", "distill"),
}
"""The stages whose outputs each stage reads."""


def state_dir(stage: str, config: Mapping[str, object]) -> Path:
    """The folder for the state of a stage under a config."""
    return STATE / stage / fingerprint(stage, config)


def fingerprint(stage: str, config: Mapping[str, Any]) -> str:
    """Digest of the config, the outputs of earlier stages, the code, versions and processor."""
    trainer = {key: value for key, value in config["trainer"].items() if key != "save_minutes"}
    inputs = [Path("data") / name for name in UPSTREAM[stage]]
    code = sorted(Path(__file__).parents[1].rglob("*.py"))
    parts = [{**config, "trainer": trainer}, *(digest(path) for path in [*inputs, *code] if path.exists())]
    parts += [versions("torch", "transformers", "pytorch-lightning"), hardware()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def state_id(folder: Path) -> str:
    """The id of the state in `folder`, empty if there is none; another project may have a state at the same path."""
    file = folder / "name"
    return file.read_text() if file.exists() else ""


def open_state(folder: Path) -> None:
    """Create the folder for the state of a stage, and delete all others.

    Those of earlier stages are saved in DVC by now, and the rest are out of date.
    """
    for old in (f for stage in UPSTREAM for f in (STATE / stage).glob("*") if f != folder):
        shutil.rmtree(old)
    folder.mkdir(parents=True, exist_ok=True)
    if not state_id(folder):
        (folder / "name").write_text(str(uuid.uuid4()))


def clear_states() -> None:
    """Delete all states, after the last stage."""
    for stage in UPSTREAM:
        shutil.rmtree(STATE / stage, ignore_errors=True)
