"""Handwritten digits that come with scikit-learn: 1797 grey images of 8 x 8 pixels; no network is needed."""

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

from decant.core.errors import UserError
from decant.data import Source, numbered


@dataclass(kw_only=True)
class Digits(Source):
    """One table, `train`: validation and test are made."""

    classes: list[int] | None = None
    """Digits to keep; default: all ten."""
    size: int | None = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [c for c in self.classes or [] if c not in range(10)]:
            raise UserError(f"classes has {unknown}, expected whole numbers from 0 to 9")

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`; `row_id` counts within the whole set, `input` is a PNG."""
        bunch = load_digits()
        grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
        frame = pd.DataFrame(
            {
                "row_id": [f"digit-{i}" for i in range(len(grey))],
                "input": [_png(image) for image in grey],
                "target": [str(i) for i in bunch.target],
            }
        )
        if self.classes:
            frame = frame[np.isin(bunch.target, self.classes)]
        return {"train": numbered(frame, "train", "row_id")}


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
