import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file
from support.tiny_networks import TokenRows
from transformers import ResNetConfig, ResNetForImageClassification

from decant.backbone.image import Image
from decant.backbone.lstm import LSTMConfig, LSTMForSequenceClassification
from decant.core.errors import UserError
from decant.core.files import replacing
from decant.dataset.modality import Row
from decant.dataset.modality.image import Image as ImageData
from decant.models import directory, dropout
from decant.preparation.stored_inputs import stored_inputs
from decant.serving import pyfunc
from decant.training.learner import warmup_decay


def test_each_row_is_predicted_once_in_its_place() -> None:
    torch.manual_seed(0)
    network = LSTMForSequenceClassification(LSTMConfig(vocab_size=50, num_labels=3))
    generator = np.random.default_rng(0)
    rows = [Row(generator.integers(1, 50, n).tolist(), 0) for n in generator.integers(1, 40, 150)]
    result = directory.predict(network, TokenRows(), rows)
    for i in (0, 63, 64, 149):
        ids = torch.tensor([rows[i].input])
        with torch.no_grad():
            single = network(ids, torch.ones_like(ids)).logits[0].numpy()
        assert np.allclose(result[i], single, atol=1e-5)


def test_a_module_named_by_a_config_file_is_not_imported_unless_it_is_ours(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture_module": "antigravity"}')
    directory.register(tmp_path)
    assert "antigravity" not in sys.modules


@pytest.mark.slow
@pytest.mark.parametrize("module", ["decant.backbone.siamese_network", "decant.models.mlp_head"])
def test_the_modules_of_our_architectures_are_imported(module: str, tmp_path: Path) -> None:
    program = (
        f"import sys; from pathlib import Path; from decant.models import directory; sys.modules.pop('{module}', 0); "
    )
    (tmp_path / "config.json").write_text(json.dumps({"architecture_module": module}))
    program += f"directory.register(Path('{tmp_path}')); assert '{module}' in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_server_of_images_sees_what_the_network_learned_from(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    shape = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=3)
    modality = ImageData(20)
    backbone = Image(architecture="resnet", pretrained=False, resolution=32)
    backbone.processor(None).save_pretrained(tmp_path)
    encoder = modality.encoder(tmp_path)
    directory.save(ResNetForImageClassification(shape), encoder.processor, tmp_path)
    files = [io.BytesIO() for _ in range(2)]
    for file, side in zip(files, ((90, 60), (47, 61)), strict=True):
        PIL.Image.fromarray(generator.integers(0, 256, (*side, 3), dtype=np.uint8)).save(file, "PNG")
    content = [file.getvalue() for file in files]
    stored, _ = stored_inputs(pd.DataFrame({"input": content, "row_id": ["a", "b"]}), modality)
    network, encoder = directory.load(tmp_path, modality)
    rows = encoder.rows({"test": stored.assign(target=0)})["test"]
    learned = torch.from_numpy(directory.predict(network, encoder, rows)).softmax(1).max(1).values
    server = pyfunc.ServedModel()
    server.load_context(SimpleNamespace(artifacts={"model": str(tmp_path)}))
    assert server.predict(None, content)["score"].tolist() == pytest.approx(learned.tolist(), abs=1e-3)


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    rates = [warmup_decay(step, 100, 0.1) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == 0.0


def test_what_a_stage_writes_can_be_read_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with replacing(Path("out")) as folder:
        (folder / "inner").mkdir()
        save_file({"weight": torch.zeros(2)}, folder / "inner/model.safetensors")  # for its owner alone
    assert Path("out").stat().st_mode & 0o777 == 0o755
    assert Path("out/inner/model.safetensors").stat().st_mode & 0o777 == 0o644


def test_dropout_is_set_wherever_a_configuration_names_one() -> None:
    config = {"model_type": "x", "dropout": 0.3, "attn_pdrop": 0.1, "token_dropout": True, "classifier_dropout": None,
              "body": {"hidden_dropout_prob": 0.1, "layers": 2}}  # fmt: skip
    result = dropout.with_dropout(config, 0.0)
    assert result == config | {"dropout": 0.0, "attn_pdrop": 0.0, "body": {"hidden_dropout_prob": 0.0, "layers": 2}}
    assert config["dropout"] == 0.3
    with pytest.raises(UserError, match="but a resnet names no dropout; set it to null"):
        dropout.with_dropout({"model_type": "resnet", "classifier_dropout": None}, 0.1)
