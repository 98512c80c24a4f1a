import io
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from support.tiny_networks import TokenRows
from transformers import ResNetConfig, ResNetForImageClassification

from decant.backbone.image import Image
from decant.backbone.lstm import LSTMConfig, LSTMForSequenceClassification
from decant.dataset.modality import Row
from decant.dataset.modality.image import Image as ImageData
from decant.models import directory
from decant.preparation.stored_inputs import stored_inputs
from decant.serving import pyfunc


def test_each_row_is_predicted_once_at_its_own_position() -> None:
    torch.manual_seed(0)
    network = LSTMForSequenceClassification(LSTMConfig(vocab_size=50, num_labels=3))
    draw = np.random.default_rng(0)
    rows = [Row(draw.integers(1, 50, n).tolist(), 0) for n in draw.integers(1, 40, 150)]
    actual = directory.predict(network, TokenRows(), rows)
    for i in (0, 63, 64, 149):
        ids = torch.tensor([rows[i].input])
        with torch.no_grad():
            alone = network(ids, torch.ones_like(ids)).logits[0].numpy()
        assert np.allclose(actual[i], alone, atol=1e-5)


def test_a_module_named_in_config_json_is_imported_only_if_it_belongs_to_decant(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture_module": "antigravity"}')
    directory.register(tmp_path)
    assert "antigravity" not in sys.modules


def test_a_server_feeds_an_image_network_the_pixels_it_was_trained_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=3)
    modality = ImageData(20)
    backbone = Image(architecture="resnet", pretrained=False, resolution=32)
    backbone.processor(None).save_pretrained(tmp_path)
    encoder = modality.encoder(tmp_path)
    directory.save(ResNetForImageClassification(config), encoder.processor, tmp_path)
    files = [io.BytesIO() for _ in range(2)]
    for file, side in zip(files, ((90, 60), (47, 61)), strict=True):
        PIL.Image.fromarray(draw.integers(0, 256, (*side, 3), dtype=np.uint8)).save(file, "PNG")
    content = [file.getvalue() for file in files]
    stored, _ = stored_inputs(pd.DataFrame({"input": content, "row_id": ["a", "b"]}), modality)
    network, encoder = directory.load(tmp_path, modality)
    rows = encoder.rows({"test": stored.assign(target=0)})["test"]
    expected = torch.from_numpy(directory.predict(network, encoder, rows)).softmax(1).max(1).values
    server = pyfunc.ServedModel()
    server.load_context(SimpleNamespace(artifacts={"model": str(tmp_path)}))
    assert server.predict(None, content)["score"].tolist() == pytest.approx(expected.tolist(), abs=1e-3)
