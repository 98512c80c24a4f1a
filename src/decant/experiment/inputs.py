"""What DVC records of a stage's inputs: dvc.lock has to name the inputs that the stage had.

DVC reads parameters and code after the stage has run. An edit meanwhile would be recorded as what the stage ran with.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import Any

from decant.config.compose import parse_yaml
from decant.core.errors import UserError

Digests = dict[str, str]
"""A digest of each input, by its name."""


class StageInputs:
    """The inputs of a stage at its start: what dvc.yaml lists under its `deps` and `params`.

    There are none without dvc.yaml. A bad config has none either: loading it afterwards tells what is wrong.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage.replace("_", "-")
        self.components: dict[str, str] = {}
        """The names of the components by role, as dvc.yaml refers to them: use.loss, ..."""
        self.digests: Digests = {}
        with suppress(UserError, OSError, LookupError, AttributeError, TypeError):
            use = parse_yaml(Path("params.yaml"))["use"]
            self.components = {f"use.{role}": name for role, name in use.items()}
            self.digests = self._current()

    def _current(self) -> Digests:
        """The inputs as they are now."""
        if not Path("dvc.yaml").exists():
            return {}
        definition = parse_yaml(Path("dvc.yaml"))["stages"][self.stage]
        digests = {path: signature(Path(path)) for path in definition["deps"]}
        for entry in definition["params"]:
            if isinstance(entry, str):
                digests[f"{entry} in params.yaml"] = _digest(_value(parse_yaml(Path("params.yaml")), entry))
            for file in entry if isinstance(entry, dict) else ():
                name = _DottedTemplate(file).safe_substitute(self.components)
                digests[name] = _digest(parse_yaml(Path(name)))
        return digests

    def check_unchanged(self) -> None:
        """Refuse to end a stage whose inputs changed while it ran.

        Raises:
            UserError: with the names of the inputs.
        """
        current = self._current()
        if changed := [name for name in {**self.digests, **current} if self.digests.get(name) != current.get(name)]:
            raise UserError(
                f"{', '.join(changed)} changed while {self.stage} ran; expected the same until it ends, because DVC "
                "records inputs only then. The output is not recorded: run the command again. make experiment runs on "
                "a copy of all inputs but untracked files in data/raw"
            )


class _DottedTemplate(Template):
    idpattern = r"[a-z_]+(\.[a-z_]+)*"


def _value(content: object, key: str) -> Any:
    for part in key.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def signature(path: Path) -> str:
    """The state of a file or folder: contents of code, sizes and times of data, which may be large."""
    files = sorted(f for f in (path.rglob("*") if path.is_dir() else [path]) if f.is_file())
    parts = [
        (str(f), f.read_bytes()) if f.suffix == ".py" else (str(f), *_stat(f)) for f in files if f.suffix != ".pyc"
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _stat(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
