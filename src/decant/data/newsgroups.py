"""20 Newsgroups by scikit-learn's fetcher; conf/data/newsgroups_local.yaml reads the same posts from Parquet.

Measure transfer on the stripped text: headers, footers and quotes give the answer away.
"""

from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

import pandas as pd
from sklearn.datasets import fetch_20newsgroups

from decant.core.errors import UserError
from decant.data import Source, with_row_ids

REMOVABLE = ("headers", "footers", "quotes")


@dataclass(kw_only=True)
class Newsgroups(Source):
    """The split by date: it has train and test; prepare takes validation from train."""

    categories: list[str] | None = None
    """Classes to keep; default: all 20."""
    remove: list[str] = field(default_factory=list)
    """Any of headers, footers, quotes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.remove) - set(REMOVABLE):
            raise UserError(f"remove has {sorted(unknown)}, expected any of: {', '.join(REMOVABLE)}")

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`."""
        return {split: with_row_ids(self._fetch(split), split) for split in ("train", "test")}

    def _fetch(self, split: str) -> pd.DataFrame:
        options = {"categories": self.categories, "remove": tuple(self.remove), "shuffle": False}
        try:
            # an empty folder each time: the fetcher's cache is a pickle; it checks the digest of what it downloads
            with TemporaryDirectory() as folder:
                bunch = fetch_20newsgroups(data_home=folder, subset=split, **options)
        except (OSError, ValueError) as error:
            raise UserError(
                f"20 Newsgroups cannot be fetched: {error}; check the network and the categories, or use "
                "newsgroups_local with a folder of Parquet files"
            ) from error
        return pd.DataFrame({"input": bunch.data, "target": [bunch.target_names[i] for i in bunch.target]})
