"""Every adaptation in conf/adapt/."""

from typing import Any

import pytest
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support.paths import ROOT

from decant.adapt.full import Full
from decant.adapt.gradual import Gradual
from decant.adapt.layerwise import Layerwise
from decant.adapt.lora import Lora
from decant.backbone.lstm import LSTMConfig, LSTMForSequenceClassification
from decant.core.errors import UserError
from decant.training.adaptation import Adapt

FILES = {f.stem: f for f in sorted((ROOT / "conf/adapt").glob("*.yaml"))}


def load(name: str, **values: Any) -> Adapt:
    return instantiate(OmegaConf.merge(OmegaConf.load(FILES[name]), values), _convert_="all")


@pytest.mark.parametrize("name", FILES)
def test_every_adaptation_is_built_from_its_yaml_and_names_its_paper(name: str) -> None:
    assert isinstance(load(name), Adapt)
    assert FILES[name].read_text().startswith("# ")
    assert FILES[name].stem == OmegaConf.load(FILES[name])["_target_"].split(".")[-2]


BAD = [
    ("full", {"batch_norm": "no"}, "batch_norm is 'no'"),
    ("mlp_head", {"hidden": 0}, "hidden is 0"),
    ("mlp_head", {"hidden": None, "one_logit": False}, "which is adapt head; choose that"),
    ("head", {"epochs": 0}, "epochs is 0"),
    ("probe_then_full", {"lr": -1.0}, "lr is -1.0"),
    ("probe_then_full", {"batch_norm": "no"}, "batch_norm is 'no'"),
    ("gradual", {"share": 0.0}, "share is 0.0, expected a number in (0, 1]"),
    ("gradual", {"share": 1.1}, "share is 1.1"),
    ("gradual", {"batch_norm": "no"}, "batch_norm is 'no'"),
    ("layerwise", {"batch_norm": "no"}, "batch_norm is 'no'"),
    ("layerwise", {"decay": 0.0}, "decay is 0.0"),
    ("layerwise", {"decay": float("nan")}, "decay is nan"),
    ("lora", {"rank": 0}, "rank is 0, expected 1 or more"),
    ("lora", {"alpha": 0.0}, "alpha is 0.0"),
    ("lora", {"dropout": 1.0}, "dropout is 1.0"),
    ("lora", {"targets": "query"}, "targets is 'query', expected all-linear or a list"),
    ("lora", {"targets": []}, "targets is []"),
]


@pytest.mark.parametrize(("name", "values", "message"), BAD, ids=[f"{name}-{values}" for name, values, _ in BAD])
def test_a_parameter_out_of_range_is_refused_by_its_name(name: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InstantiationException) as caught:
        load(name, **values)
    assert isinstance(caught.value.__cause__, UserError)
    assert message in str(caught.value.__cause__)


def test_a_network_of_one_block_is_refused_if_blocks_are_treated_differently() -> None:
    lstm = LSTMForSequenceClassification(LSTMConfig(vocab_size=50, num_labels=3))
    for adapt in (Gradual(0.5, "update"), Layerwise(0.5, "update"), Lora(4, 8.0, 0.0)):
        with pytest.raises(UserError, match="no backbone apart from its head"):
            adapt.wrap(lstm)
    assert Full().wrap(lstm) is lstm
