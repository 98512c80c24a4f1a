"""Inputs as the prepared tables store them: texts as strings, images as squares of pixels."""

import pandas as pd

from decant.dataset.modality import Modality
from decant.dataset.modality.image import Image
from decant.dataset.modality.text_encoder import text_columns
from decant.preparation.decode import decode_all


def stored_inputs(frame: pd.DataFrame, modality: Modality) -> tuple[pd.DataFrame, dict[str, str]]:
    """`frame` with `input` as it is stored, and {row_id: reason} of the inputs that cannot be used.

    Files of images are decoded, turned upright, resized and cropped to the central square; other values become texts.
    """
    if isinstance(modality, Image):
        pixels, reasons = decode_all(frame["input"], frame["row_id"], modality.size)
        return frame.assign(input=pd.Series(pixels, frame.index, dtype=object)), reasons
    texts = {c: frame[c].astype(object).mask(frame[c].isna(), "").map(str) for c in text_columns(frame)}
    return frame.assign(**texts), {}
