"""The features of the linear baseline for texts and for pairs of texts."""

from collections.abc import Sequence
from typing import Any, Self

import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer


class Tfidf(TransformerMixin, BaseEstimator):
    """TF-IDF of words and of pairs of consecutive words, (N, V).

    For pairs of texts with rows a and b it gives |a - b|, a * b and their cosine, (N, 2V + 1): from a and b themselves
    a linear model could learn what the texts are about, but not whether they match. None of these features depends on
    the order of the two texts.
    """

    def fit(self, texts: Sequence[Any], target: Any = None) -> Self:
        """Learn the vocabulary of texts, or of pairs (a, b)."""
        self.vectorizer_ = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        self.vectorizer_.fit([t for pair in texts for t in pair] if are_pairs(texts) else texts)
        return self

    def transform(self, texts: Sequence[object]) -> sp.csr_matrix:
        """Features of N texts or pairs."""
        if not are_pairs(texts):
            return self.vectorizer_.transform(texts)
        first, second = (self.vectorizer_.transform(column) for column in zip(*texts, strict=True))
        product = first.multiply(second).tocsr()
        return sp.hstack([abs(first - second), product, sp.csr_matrix(product.sum(1))], format="csr")


def are_pairs(texts: Sequence[object]) -> bool:
    """Whether `texts` are pairs (a, b)."""
    return isinstance(texts[0], tuple)
