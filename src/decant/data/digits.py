"""The handwritten digits of scikit-learn: 1797 grey images of 8 x 8 pixels, read without a network connection."""

import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

from decant.core.errors import UserError
from decant.data import Source, with_row_ids


@dataclass(kw_only=True)
class Digits(Source):
    """One table, `train`, from which prepare takes validation and test."""

    classes: list[int] | None = None
    """Digits to keep; default: all ten."""
    size: int | None = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [c for c in self.classes or [] if c not in range(10)]:
            raise UserError(f"classes has {unknown}, expected whole numbers from 0 to 9")

    def load(self) -> dict[str, pd.DataFrame]:
        """See `Source.load`; `row_id` is the position in the whole set, `input` a PNG."""
        bunch = load_digits()
        pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
        frame = pd.DataFrame(
            {
                "row_id": [f"digit-{i}" for i in range(len(pixels))],
                "input": [_png(image) for image in pixels],
                "target": [str(i) for i in bunch.target],
            }
        )
        if self.classes:
            frame = frame[np.isin(bunch.target, self.classes)]
        return {"train": with_row_ids(frame, "train", "row_id")}


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
