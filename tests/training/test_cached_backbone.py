import torch
from transformers.modeling_outputs import BaseModelOutput

from decant.training.feature_cache import CachedBackbone


def test_features_are_taken_by_name_and_by_position() -> None:
    features = torch.rand(2, 1, 4)
    backbone = CachedBackbone("input_ids", BaseModelOutput, pooled=False)
    assert backbone(features)[0] is features
    assert backbone(input_ids=features, attention_mask=None).last_hidden_state is features
