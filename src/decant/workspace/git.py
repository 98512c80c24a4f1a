"""Git commands in a folder."""

import os
import subprocess
from pathlib import Path

from decant.core.errors import UserError

LOCAL_VARIABLES = {
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_INDEX_FILE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_WORK_TREE"),
}
"""Variables that name another repository or index than that of a folder, as a git hook has them."""


class Git:
    """Runs git in `folder`; `variables` are added to its environment."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        inherited = {name: value for name, value in os.environ.items() if name not in LOCAL_VARIABLES}
        self.environment = {**inherited, "GIT_OPTIONAL_LOCKS": "0", **variables}

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """The output of `git <arguments>`.

        Raises:
            UserError: it failed, with git's own message.
        """
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder, env=self.environment, input=stdin, capture_output=True, text=True, check=False,
            errors="surrogateescape",
        )  # fmt: skip
        if done.returncode:
            raise UserError(f"git {arguments[0]} failed in {self.folder}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def files(self, *arguments: str) -> list[str]:
        """The paths that `git ls-files <arguments>` lists."""
        return self("ls-files", "-z", *arguments).split("\0")[:-1]

    def succeeds(self, *arguments: str) -> bool:
        """Whether a git command ends with exit code 0."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env=self.environment, capture_output=True, check=False
        )
        return done.returncode == 0
