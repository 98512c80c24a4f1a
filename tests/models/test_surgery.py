import torch
from support.tiny_networks import TEXT
from transformers import BertConfig, BertModel

from decant.models import surgery


def test_a_mean_pooling_layer_is_removed_only_as_long_as_it_was_not_trained() -> None:
    without, appended, trained = (BertModel(BertConfig(**TEXT)) for _ in range(3))
    for network in (appended, trained):
        surgery.append_mean_pooling_layer(network)
    with torch.no_grad():
        trained.encoder.layer[-1].attention.self.query.weight[0, 0] = 1e-8
    for network in (without, appended, trained):
        surgery.remove_mean_pooling_layer(network)
    assert [len(n.encoder.layer) for n in (without, appended, trained)] == [3, 3, 4]
    assert [n.config.num_hidden_layers for n in (without, appended, trained)] == [3, 3, 4]
