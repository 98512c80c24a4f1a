import numpy as np
import pandas as pd
import pytest

from decant.core.errors import UserError
from decant.dataset.modality.image import Image
from decant.dataset.modality.text import Text
from decant.preparation import text_augmentation

WORDS = ["please", "tell", "me", "where", "the", "parcel", "with", "my", "new", "shoes", "is", "now"]


def tables() -> dict[str, pd.DataFrame]:
    train = pd.DataFrame({"row_id": ["a", "b"], "input": [" ".join(WORDS), "cancel it"], "target": ["x", "y"]})
    test = pd.DataFrame({"row_id": ["c"], "input": ["cancel"], "target": ["y"]})
    return {s: f.assign(key=Text().duplicate_keys(f)) for s, f in (("train", train), ("test", test))}


def test_words_are_left_out_and_replaced_as_often_as_they_should() -> None:
    draw = np.random.default_rng(0)
    long = ["word"] * 1000
    made = [text_augmentation.perturb(long, ["other"], draw).split() for _ in range(40)]
    whole = [m for m in made if len(m) > text_augmentation.MAX_SHORTENED]
    assert len(made) - len(whole) == pytest.approx(40 * text_augmentation.SHORTEN, abs=8)
    assert np.mean([len(m) for m in whole]) == pytest.approx(1000 * (1 - text_augmentation.DELETE), abs=10)
    assert np.mean([m.count("other") for m in whole]) == pytest.approx(1000 * text_augmentation.REPLACE, abs=10)


def test_words_that_stay_keep_their_order_and_shortened_copies_are_in_a_row() -> None:
    draw = np.random.default_rng(1)
    for _ in range(100):
        made = text_augmentation.perturb(WORDS, ["?"], draw).split()
        places = [WORDS.index(w) for w in made if w != "?"]
        assert places == sorted(places)


def test_copies_are_new_inputs_without_labels() -> None:
    made = tables()
    text_augmentation.add_copies(made, 20, Text(), 0)
    found = made["unlabelled"]
    assert list(found.columns) == ["row_id", "input", "key"]
    assert found["key"].is_unique
    assert found["row_id"].is_unique
    assert not set(found["key"]) & {"", "cancel", "cancel it", " ".join(WORDS)}
    assert 15 < len(found) <= 40
    assert len(made["train"]) == 2


def test_no_new_copy_leaves_no_unlabelled_rows() -> None:
    train = pd.DataFrame({"row_id": ["a"], "input": ["word"], "target": ["x"]})
    made = {"train": train.assign(key=Text().duplicate_keys(train))}
    text_augmentation.add_copies(made, 3, Text(), 0)
    assert set(made) == {"train"}


def test_unlabelled_rows_stay_and_have_copies_too() -> None:
    made = tables()
    more = pd.DataFrame({"row_id": ["u"], "input": ["an unlabelled text of some length"]})
    made["unlabelled"] = more.assign(key=Text().duplicate_keys(more))
    text_augmentation.add_copies(made, 5, Text(), 0)
    assert made["unlabelled"]["row_id"].iloc[0] == "u"
    assert any(i.startswith("unlabelled u copy") for i in made["unlabelled"]["row_id"])


def test_the_seed_decides() -> None:
    first, again, other = (tables() for _ in range(3))
    for made, seed in ((first, 0), (again, 0), (other, 1)):
        text_augmentation.add_copies(made, 5, Text(), seed)
    assert first["unlabelled"].equals(again["unlabelled"])
    assert not first["unlabelled"].equals(other["unlabelled"])


def test_images_and_pairs_are_refused() -> None:
    with pytest.raises(UserError, match=r"prepare.augmented_copies is for texts"):
        text_augmentation.add_copies(tables(), 1, Image(8), 0)
    made = {"train": tables()["train"].assign(pair="b")}
    with pytest.raises(UserError, match=r"prepare.augmented_copies is for texts"):
        text_augmentation.add_copies(made, 1, Text(), 0)


def test_ids_that_two_splits_share_give_copies_of_their_own() -> None:
    made = tables()
    more = pd.DataFrame({"row_id": ["a", "b"], "input": ["an unlabelled text of some length", "and one more of them"]})
    made["unlabelled"] = more.assign(key=Text().duplicate_keys(more))
    text_augmentation.add_copies(made, 5, Text(), 0)
    assert made["unlabelled"]["row_id"].is_unique
