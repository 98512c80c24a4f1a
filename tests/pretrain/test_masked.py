"""Masked language modelling on a corpus: what it changes in a model directory, and that it learns."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.source_corpus import MINILM, SMALL, pretraining_job, write_backbone
from support.tiny_project import RecordedRun

from decant.backbone.huggingface import HuggingFace
from decant.backbone.lstm import LSTM
from decant.config.compose import composed, experiment_overrides
from decant.core.errors import UserError
from decant.core.hashing import sha256
from decant.experiment.experiment import Experiment
from decant.pretrain.masked import Masked


def pretrained(corpus: Experiment, folder: Path, run: RecordedRun | None = None, **options: Any) -> Any:
    """The new weights of the backbone in `folder`."""
    Masked(0.15).train(pretraining_job(corpus, folder, run, **options))
    return load_file(folder / "model.safetensors")


def test_pooling_layer_pooler_and_configuration_stay_and_all_else_is_trained(
    corpus: Experiment, averaging: Path
) -> None:
    files = {f.name: f.read_bytes() for f in averaging.iterdir()}
    before = load_file(averaging / "model.safetensors")
    after = pretrained(corpus, averaging, epochs=1)
    assert after.keys() == before.keys()
    unchanged = {k for k in before if k.startswith(("encoder.layer.2.", "pooler."))}
    assert len(unchanged) == 18
    assert all(torch.equal(before[k], after[k]) for k in unchanged)
    assert not [k for k in before if k not in unchanged and torch.equal(before[k], after[k])]
    assert {n for n, c in files.items() if (averaging / n).read_bytes() != c} == {"model.safetensors"}


@pytest.mark.slow
def test_equal_seeds_give_equal_bytes(corpus: Experiment, weights: Path, tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder = write_backbone(HuggingFace(path=str(weights), pooling="mean"), tmp_path / name)
        pretrained(corpus, folder, epochs=1, seed=seed)
        digests.append(sha256(folder / "model.safetensors"))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.slow
def test_masked_tokens_are_predicted_better_after_training_than_before(corpus: Experiment, tmp_path: Path) -> None:
    run = RecordedRun()
    backbone = HuggingFace(package=MINILM, pretrained=False, config=SMALL, lr_scale=30.0)
    pretrained(corpus, write_backbone(backbone, tmp_path / "scratch"), run, epochs=15)
    (before,), perplexity = run.history("before/masked_accuracy"), run.history("validation/perplexity")
    assert before < 0.05 < run.history("best/masked_accuracy")[0] <= 1
    assert perplexity[-1] < run.history("before/perplexity")[0] / 10
    # each pass has the same masks, so the loss and the perplexity of the last one agree
    loss = torch.tensor(run.history("validation/loss")[-1])
    assert perplexity[-1] == pytest.approx(float(loss.exp()), 1e-3)


def test_every_pass_over_validation_has_the_same_masks(corpus: Experiment, averaging: Path) -> None:
    run = RecordedRun()
    pretrained(corpus, averaging, run, lr=1e-30)
    for metric in ("masked_accuracy", "perplexity"):
        (before,) = run.history(f"before/{metric}")
        assert run.history(f"validation/{metric}") == pytest.approx([before] * 2, 1e-5)


def test_an_architecture_without_a_masked_language_model_head_is_refused(corpus: Experiment, tmp_path: Path) -> None:
    lstm = write_backbone(LSTM(package=MINILM, embedding_size=8, hidden_size=8, dropout=0.0), tmp_path / "lstm")
    with pytest.raises(UserError, match="architecture lstm, which has no masked-language-model head"):
        Masked(0.15).train(pretraining_job(corpus, lstm))


@pytest.mark.parametrize("rate", [0, 1, -0.1])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match=f"rate is {rate}, expected a share"):
        Masked(rate)


@pytest.mark.parametrize("name", ["banking77_few", "banking77_few_masked"])
def test_the_few_label_experiments_differ_in_masked_pretraining(
    name: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECANT_DATA", "elsewhere")
    config = composed(experiment_overrides(name, project), project)
    assert config["prepare"]["labels_per_class"] == 10
    assert config["use"]["pretrain"] == ("masked" if name.endswith("masked") else "none")
