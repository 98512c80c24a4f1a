"""A folder of images, or an archive of one: a sub-folder per class, directly or inside train/, validation/, test/."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from decant.core.errors import UserError
from decant.core.reading import read_file
from decant.data import SPLITS, Source, count_files, with_row_ids
from decant.data.archive import read_archive
from decant.data.files import fetch, verify
from decant.data.folder_layout import is_hidden, layout, top_folder
from decant.data.images import input_column
from decant.data.limits import MAX_IMAGE_BYTES

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")


@dataclass(kw_only=True)
class Folder(Source):
    """Images labelled by the folder they are in; `unlabelled/` needs no class folders."""

    path: str
    """The folder; or a zip or tar archive of it, by path or URL. A single folder around all others is skipped."""
    size: int = field()
    classes: list[str] | None = None
    """Keep only the labelled images of these classes."""
    sha256: str | None = None
    """Expected digest of the archive."""

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`; `row_id` is the path inside the folder, `input` the bytes of the file."""
        names, read = self._files()
        names = [n for n in names if not is_hidden(n)]
        top = top_folder(names)
        images = layout(n.removeprefix(top) for n in names)
        if problems := self._problems(images):
            raise UserError(problems)
        if self.classes:
            images = images[images["target"].isin(self.classes) | (images["split"] == "unlabelled")]
        inputs = input_column(images["row_id"], self.size, self.path, lambda name: read(top + name))
        images = images.assign(input=inputs)
        splits = set(images["split"])
        tables = {s: with_row_ids(images[images["split"] == s], s, "row_id") for s in SPLITS if s in splits}
        if "unlabelled" in tables:
            del tables["unlabelled"]["target"]
        return tables

    def _files(self) -> tuple[list[str], Callable[[str], bytes]]:
        """The names of all files inside, and a function that reads one of them."""
        root = Path(self.path)
        if not root.is_dir():
            content = fetch(self.path)
            verify(self.path, content, self.sha256)
            files = read_archive(self.path, content)
            return list(files), files.__getitem__
        if self.sha256:
            raise UserError(f"{self.path} is a folder, but sha256: is of an archive; remove it, or give the archive")
        return _walk(root), lambda name: read_file(root / name, MAX_IMAGE_BYTES)

    def _problems(self, files: pd.DataFrame) -> list[str]:
        is_image = files["row_id"].map(lambda name: PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES).astype(bool)
        images = files[is_image]
        labelled = images[images["split"] != "unlabelled"]
        no_split, no_class = labelled["split"] == "", labelled["target"].isna() & (labelled["split"] != "")
        suffixes = " ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
        misplaced = {
            "with names that are not UTF-8; rename them": files[~files["row_id"].map(_is_utf8).astype(bool)],
            f"without the ending of an image ({suffixes}); remove them": files[~is_image],
            "outside the folders of the splits; move them into one of these": labelled[no_split],
            "in no class folder; move each into a folder with the name of its class": labelled[no_class],
        }
        problems = [f"{self.path}: {count_files(list(f['row_id']))} {what}" for what, f in misplaced.items() if len(f)]
        if not (images["split"] == "train").any():
            problems.append(f"{self.path} has no images to train on; expected <class>/<image> or train/<class>/<image>")
        elif unknown := sorted(set(self.classes or []) - set(labelled["target"].dropna())):
            problems.append(f"{self.path} has no images of the classes {unknown} that classes: asks for")
        return problems


def _walk(root: Path) -> list[str]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}; check its permissions") from error

    names: list[str] = []
    ancestors: dict[Path, tuple[tuple[int, int], ...]] = {}
    # rglob would skip linked folders, and folders that cannot be read
    for folder, _, files in os.walk(root, onerror=refuse, followlinks=True):
        path = Path(folder)
        ancestors[path] = (*ancestors.get(path.parent, ()), identity := _identity(path))
        if identity in ancestors[path][:-1]:
            raise UserError(f"{folder} is a link to a folder that it is in, and so without end; remove it")
        names += [(path / name).relative_to(root).as_posix() for name in files]
    return names


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_utf8(name: str) -> bool:
    return name.encode(errors="ignore").decode() == name
