"""20 Newsgroups by scikit-learn's fetcher; conf/data/newsgroups_local.yaml reads the same posts from Parquet.

Judge transfer on the stripped text: headers, footers and quotes give the answer away.
"""

from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

import pandas as pd
from sklearn.datasets import fetch_20newsgroups

from decant.core.errors import UserError
from decant.data import Source, numbered

PARTS = ("headers", "footers", "quotes")


@dataclass(kw_only=True)
class Newsgroups(Source):
    """The by-date split: train and test are given, validation is made."""

    categories: list[str] | None = None
    """Classes to keep; default: all 20."""
    remove: list[str] = field(default_factory=list)
    """Any of headers, footers, quotes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := set(self.remove) - set(PARTS):
            raise UserError(f"remove has {sorted(unknown)}, expected any of: {', '.join(PARTS)}")

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`."""
        return {split: numbered(self._fetched(split), split) for split in ("train", "test")}

    def _fetched(self, split: str) -> pd.DataFrame:
        options = {"categories": self.categories, "remove": tuple(self.remove), "shuffle": False}
        try:
            # its cache is a pickle, so it is given an empty place; it checks the digest of what it fetches
            with TemporaryDirectory() as empty:
                bunch = fetch_20newsgroups(data_home=empty, subset=split, **options)
        except (OSError, ValueError) as error:
            raise UserError(
                f"20 Newsgroups cannot be fetched: {error}; check the network and the categories, or use "
                "newsgroups_local with a folder of Parquet files"
            ) from error
        names = [bunch.target_names[i] for i in bunch.target]
        return pd.DataFrame({"input": bunch.data, "target": names})
