"""Labels that are one to a reader and several to a model: "billing", "Billing", " billing"."""

from collections.abc import Iterable, Mapping
from itertools import groupby

from decant.dataset.modality.text import normalised


def similar_labels(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only in case, white space or Unicode form."""
    groups = (list(group) for _, group in groupby(sorted(labels, key=normalised), normalised))
    return [sorted(group) for group in groups if len(group) > 1]


def warning(group: Iterable[str], rows: Mapping[str, int]) -> str:
    """The sentence about a group of similar labels; `rows`: of train, by label."""
    # repr shows composed and decomposed accents alike
    names = ", ".join(f"{label!a} ({rows.get(label, 0)} rows of train)" for label in group)
    return (
        f"labels that differ only in case, white space or Unicode form count as different classes: {names}; if they "
        "mean one class, spell them alike in the data"
    )
