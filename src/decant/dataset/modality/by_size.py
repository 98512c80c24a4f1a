"""The modality of a data source, from its `size`."""

from decant.dataset.modality import Modality
from decant.dataset.modality.image import Image
from decant.dataset.modality.text import Text


def modality_of(size: int | None) -> Modality:
    """Images, stored as squares of `size` pixels a side; texts, if there is no size."""
    return Text() if size is None else Image(size)
