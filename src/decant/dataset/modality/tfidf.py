"""The features of the linear baseline for texts and for pairs of texts."""

from collections.abc import Sequence
from typing import Any, Self

import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer


class Tfidf(TransformerMixin, BaseEstimator):
    """TF-IDF of single words and of two in a row, (N, V).

    Of a pair of texts with rows a and b it gives |a - b|, a * b and their cosine, (N, 2V + 1): a linear model
    sees from a and b side by side what they are about, but not whether they go together. None of these knows
    which text comes first.
    """

    def fit(self, texts: Sequence[Any], target: Any = None) -> Self:
        """Learn the words of texts, or of pairs (a, b)."""
        self.words_ = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        self.words_.fit([t for pair in texts for t in pair] if paired(texts) else texts)
        return self

    def transform(self, texts: Sequence[Any]) -> sp.csr_matrix:
        """Features of N texts or pairs."""
        if not paired(texts):
            return self.words_.transform(texts)
        first, second = (self.words_.transform(side) for side in zip(*texts, strict=True))
        shared = first.multiply(second).tocsr()
        return sp.hstack([abs(first - second), shared, sp.csr_matrix(shared.sum(1))], format="csr")


def paired(texts: Sequence[Any]) -> bool:
    """Whether these are pairs."""
    return isinstance(texts[0], tuple)
