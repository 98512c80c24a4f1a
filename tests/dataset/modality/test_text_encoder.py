import numpy as np
from support.tiny_networks import TokenRows

from decant.dataset.modality import Row


def test_padding_is_that_of_the_tokenizer_and_masked_and_soft_targets_stay_with_their_rows() -> None:
    rows = [Row([5, 6, 7], 1, np.array([1.0, 2.0], np.float32)), Row([8], -1, np.array([3.0, 4.0], np.float32))]
    batch = TokenRows().collate(rows)
    assert batch["input_ids"][1].tolist() == [8, 7, 7, 7, 7, 7, 7, 7]
    assert batch["attention_mask"].sum(1).tolist() == [3, 1]
    assert batch["target"].tolist() == [1, -1]
    assert batch["soft"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
