"""What a stage that was killed had done, so that it goes on from there and ends as if nothing had happened.

It lies in .state/<stage>/<fingerprint>/, outside of what DVC clears away before a stage starts, and is thrown away when
the next stage starts: until then DVC may not have taken the output. The fingerprint is that of all that decides the
result, so a state is never taken up by another configuration, other data or other code.
"""

import hashlib
import shutil
import uuid
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from decant.core.environment import hardware, versions
from decant.core.hashing import digest

STATE = Path(".state")
READS = {
    "prepare": (),
    "pretrain_load": ("prepare",),
    "fine_tune": ("prepare", "pretrain_load"),
    "distill": ("prepare", "pretrain_load", "fine_tune"),
    "evaluate": ("prepare", "fine_tune", "distill"),
}
"""Whose outputs a stage reads."""


def place(stage: str, cfg: DictConfig) -> Path:
    """Where the state of a stage is kept."""
    return STATE / stage / fingerprint(stage, cfg)


def fingerprint(stage: str, cfg: DictConfig) -> str:
    """Of the configuration, what earlier stages made, the code, versions and processor."""
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    del plain["trainer"]["save_minutes"]
    inputs = [Path("data") / name for name in READS[stage]] + [Path(t) for t in cfg.distill.teachers]
    code = sorted(Path(__file__).parents[1].rglob("*.py"))
    parts: list[Any] = [plain, *(digest(path) for path in [*inputs, *code] if path.exists())]
    parts += [versions("torch", "transformers", "pytorch-lightning"), hardware()]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def name(place: Path) -> str:
    """What the run is known by whose state is kept there: another project may have one at the same path."""
    file = place / "name"
    return file.read_text() if file.exists() else ""


def begin(place: Path) -> None:
    """Make room for the state of a stage: those of stages before it are safe in DVC by now, and all others are old."""
    for folder in (f for stage in READS for f in (STATE / stage).glob("*") if f != place):
        shutil.rmtree(folder)
    place.mkdir(parents=True, exist_ok=True)
    if not name(place):
        (place / "name").write_text(str(uuid.uuid4()))


def clear() -> None:
    """Throw all away, when the last stage is done."""
    for stage in READS:
        shutil.rmtree(STATE / stage, ignore_errors=True)
