"""20 Newsgroups: scikit-learn's fetcher, or the same posts from local Parquet.

Judge transfer on the stripped text: headers, footers and quotes give the answer away.
"""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from sklearn.datasets import _twenty_newsgroups as posts
from sklearn.datasets import fetch_20newsgroups

from decant import UserError
from decant.data import Source, numbered
from decant.data.table import fetch, parse

STRIP = {
    "headers": posts.strip_newsgroup_header,
    "footers": posts.strip_newsgroup_footer,
    "quotes": posts.strip_newsgroup_quoting,
}


@dataclass(kw_only=True)
class Newsgroups(Source):
    """The by-date split: train and test are given, validation is made."""

    categories: list[str] | None = None
    """Classes to keep; default: all 20."""
    remove: list[str] = field(default_factory=list)
    """Any of headers, footers, quotes."""
    path: str | None = None
    """Folder with train.parquet and test.parquet (columns text, label_name); default: the fetcher."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.remove) - set(STRIP):
            raise UserError(f"remove has {sorted(unknown)}, expected any of: {', '.join(STRIP)}")

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`."""
        read = self._local if self.path else self._fetched
        return {split: numbered(read(split), split) for split in ("train", "test")}

    def _fetched(self, split: str) -> pd.DataFrame:
        try:
            bunch = fetch_20newsgroups(subset=split, categories=self.categories, remove=self.remove, shuffle=False)
        except (OSError, ValueError) as error:
            raise UserError(
                f"20 Newsgroups cannot be fetched: {error}; check the network and the categories, or use "
                "newsgroups_local with a folder of Parquet files"
            ) from error
        names = [bunch.target_names[i] for i in bunch.target]
        return pd.DataFrame({"input": bunch.data, "target": names})

    def _local(self, split: str) -> pd.DataFrame:
        path = str(Path(str(self.path)) / f"{split}.parquet")
        frame = parse(path, fetch(path))
        if lacking := {"text", "label_name"} - set(frame):
            raise UserError(f"{path} lacks the columns {sorted(lacking)}; it has: {list(frame)}")
        known = sorted(frame["label_name"].unique())
        if unknown := set(self.categories or []) - set(known):
            raise UserError(f"{path} has no categories {sorted(unknown)}; it has: {', '.join(known)}")
        frame = frame[frame["label_name"].isin(self.categories or known)]
        inputs = [self._strip(text) for text in frame["text"]]
        return pd.DataFrame({"input": inputs, "target": list(frame["label_name"])})

    def _strip(self, text: str) -> str:
        for part in STRIP:  # scikit-learn's order
            text = STRIP[part](text) if part in self.remove else text
        return text
