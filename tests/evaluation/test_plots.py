"""The pictures of a result."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from decant.evaluation import plots
from decant.task import Confusion, LabelScores, Picture

ODD = ["$0_$50", "$x^$", "$\\frac$", "a$b", "\\$5\\", "_x^y", "%s", "{x}", "a\nb", "\0\x1b[31m", "\u202eabc", "שלום",
       "", "📦", "x" * 5000, "中文", "e\u0301"]  # fmt: skip


def pictures(labels: list[str]) -> list[Picture]:
    index = np.arange(len(labels))
    return [Confusion(index, index, labels), LabelScores("F1", index / len(labels), index, labels)]


@pytest.mark.parametrize("picture", pictures(ODD), ids=lambda picture: type(picture).__name__)
def test_any_text_may_be_a_label_of_a_picture(picture: Picture, tmp_path: Path) -> None:
    plots.draw(picture, tmp_path)
    with Image.open(tmp_path / "answers.png") as image:
        image.load()
        assert max(image.size) < 3000  # the long label does not stretch it


@pytest.mark.parametrize("picture", pictures(["$0_$50", "b"]), ids=lambda picture: type(picture).__name__)
def test_equal_results_give_equal_bytes(picture: Picture, tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        plots.draw(picture, tmp_path)
        contents.append((tmp_path / "answers.png").read_bytes())
    assert contents[0] == contents[1]


def test_a_picture_of_many_labels_has_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "MAX_NAMED", 10)
    monkeypatch.setattr(plots, "MAX_INCHES", 5.0)
    for picture in pictures([f"class {i}" for i in range(50)]):
        plots.draw(picture, tmp_path)
        with Image.open(tmp_path / "answers.png") as image:
            assert image.width * image.height <= (plots.MAX_INCHES * 120) ** 2
