"""A folder of images, or an archive of one: a sub-folder per class, below train/, validation/, test/ if there are."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from decant.core.errors import UserError
from decant.data import SPLITS, Source, numbered, some
from decant.data.archive import unpacked
from decant.data.files import fetch, verify
from decant.data.images import inputs

ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SPLIT_OF = {s: s for s in SPLITS} | {"val": "validation", "valid": "validation", "unlabeled": "unlabelled"}
CLUTTER = ("__macosx", "thumbs.db", "desktop.ini")
"""What systems leave behind; ignored, as hidden files are."""


@dataclass(kw_only=True)
class Folder(Source):
    """Images by the folder they lie in; `unlabelled/` needs no class folders."""

    path: str
    """The folder; or a zip or tar archive of it, by path or URL. A single folder around all is looked through."""
    size: int = field()
    classes: list[str] | None = None
    """Keep only the labelled images of these classes."""
    sha256: str | None = None
    """Expected digest of the archive."""

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`; `row_id` is the path inside, `input` the bytes of the file."""
        names, read = self._files()
        top = around(names := [n for n in names if not _hidden(n)])
        places = placed(n.removeprefix(top) for n in names)
        if problems := self._problems(places):
            raise UserError(problems)
        if self.classes:
            places = places[places["target"].isin(self.classes) | (places["split"] == "unlabelled")]
        places = places.assign(input=inputs(places["row_id"], self.size, self.path, lambda name: read(top + name)))
        tables = {s: numbered(places[places["split"] == s], s, "row_id") for s in SPLITS if s in set(places["split"])}
        if "unlabelled" in tables:
            del tables["unlabelled"]["target"]
        return tables

    def _files(self) -> tuple[list[str], Callable[[str], bytes]]:
        """Names of all files inside, and what reads one of them."""
        root = Path(self.path)
        if not root.is_dir():
            content = fetch(self.path)
            verify(self.path, content, self.sha256)
            members = unpacked(self.path, content)
            return list(members), members.__getitem__
        if self.sha256:
            raise UserError(f"{self.path} is a folder, but sha256: is of an archive; remove it, or give the archive")
        return _walk(root), lambda name: (root / name).read_bytes()

    def _problems(self, places: pd.DataFrame) -> list[str]:
        known = places["row_id"].map(lambda name: PurePosixPath(name).suffix.lower() in ENDINGS).astype(bool)
        images = places[known]
        labelled = images[images["split"] != "unlabelled"]
        nowhere, loose = labelled["split"] == "", labelled["target"].isna() & (labelled["split"] != "")
        found = {
            "with names that are not UTF-8; rename them": places[~places["row_id"].map(_utf8).astype(bool)],
            f"not images by their ending ({' '.join(e[1:] for e in ENDINGS)}); remove them": places[~known],
            "beside the folders of splits; move them into one of these": labelled[nowhere],
            "in no class folder; move each into a folder with the name of its class": labelled[loose],
        }
        problems = [f"{self.path}: {some(list(part['row_id']))} {what}" for what, part in found.items() if len(part)]
        if not (images["split"] == "train").any():
            problems.append(f"{self.path} has no images to train on; expected <class>/<image> or train/<class>/<image>")
        elif unknown := sorted(set(self.classes or []) - set(labelled["target"].dropna())):
            problems.append(f"{self.path} has no images of the classes {unknown} that classes: asks for")
        return problems


def around(names: list[str]) -> str:
    """The single folder around all classes or splits, with its slash; "" where there is none."""
    tops = {name.partition("/")[0] for name in names}
    deep = any(name.count("/") > 1 for name in names)
    return f"{tops.pop()}/" if deep and len(tops) == 1 and not {t.lower() for t in tops} & set(SPLIT_OF) else ""


def placed(names: Iterable[str]) -> pd.DataFrame:
    """Sorted `row_id` (the name) with the `split` ("": none) and `target` (None: none) that its folders say."""
    parts = {name: name.split("/") for name in sorted(names)}
    by_split = any(map(_below_split, parts.values()))
    rows = []
    for name, (*folders, _) in parts.items():
        split = "train"
        if by_split:
            split, folders = SPLIT_OF.get("".join(folders[:1]).lower(), ""), folders[1:]
        rows.append((name, split, folders[0] if folders and split != "unlabelled" else None))
    return pd.DataFrame(rows, columns=["row_id", "split", "target"], dtype=object)


def _below_split(parts: list[str]) -> bool:
    split = SPLIT_OF.get(parts[0].lower())
    # train/1.jpg is of a class "train": there are sets about railways
    return split is not None and len(parts) > (1 if split == "unlabelled" else 2)


def _walk(root: Path) -> list[str]:
    def stop(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}; check its permissions") from error

    # rglob would skip linked folders, and folders that cannot be read
    found = os.walk(root, onerror=stop, followlinks=True)
    return [(Path(folder) / name).relative_to(root).as_posix() for folder, _, names in found for name in names]


def _utf8(name: str) -> bool:
    return name.encode(errors="ignore").decode() == name


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in CLUTTER for part in name.split("/"))
