from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.pretraining import DIGITS, MINILM, SMALL_BERT, TEXTS, prepared_experiment, pretrain, write_backbone
from transformers import AutoModel

from decant import pretrain_load
from decant.backbone.huggingface import HuggingFace
from decant.backbone.lstm import LSTM
from decant.core.errors import UserError
from decant.core.hashing import sha256
from decant.experiment.experiment import Experiment
from decant.models import surgery
from decant.pretrain.masked import Masked
from decant.tracking.runs import Run
from decant.training.masked_lm import masked_lm_network

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*number of training batches.*"),
]


@pytest.fixture
def corpus(project_dir: Path) -> Experiment:
    """An experiment whose source data are fifty texts without labels."""
    (project_dir / "corpus.csv").write_text("text\n" + "\n".join(f'"{t}"' for t in TEXTS))
    unlabelled_only = [f"source.{key}=null" for key in ("train", "test", "target", "classes")]
    source = ["use.source=toy", "source.unlabelled=corpus.csv", *unlabelled_only]
    return prepared_experiment("use.data=toy", "use.pretrain=masked", *source)


def test_the_head_is_tied_to_the_embedding_and_the_mean_pooling_layer_is_removed(mean_pooling: Path) -> None:
    network = masked_lm_network(mean_pooling)
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert len(network.base_model.encoder.layer) == SMALL_BERT["num_hidden_layers"]


def test_only_an_untrained_mean_pooling_layer_is_removed(weights: Path) -> None:
    without, with_layer, trained = (AutoModel.from_pretrained(weights) for _ in range(3))
    for network in (with_layer, trained):
        surgery.append_mean_pooling_layer(network)
    with torch.no_grad():
        trained.encoder.layer[-1].attention.self.query.weight[0, 0] = 1e-8
    for network in (without, with_layer, trained):
        surgery.remove_mean_pooling_layer(network)
    assert [len(n.encoder.layer) for n in (without, with_layer, trained)] == [2, 2, 3]
    assert [n.config.num_hidden_layers for n in (without, with_layer, trained)] == [2, 2, 3]


def test_mean_pooling_layer_pooler_and_configuration_stay_and_all_else_learns(
    corpus: Experiment, mean_pooling: Path
) -> None:
    files = {f.name: f.read_bytes() for f in mean_pooling.iterdir()}
    before = load_file(mean_pooling / "model.safetensors")
    after, _ = pretrain(Masked(0.15), corpus, mean_pooling)
    assert after.keys() == before.keys()
    unchanged = {k for k in before if k.startswith(("encoder.layer.2.", "pooler."))}
    assert len(unchanged) == 18
    assert {k for k in before if torch.equal(before[k], after[k])} == unchanged
    changed_files = {name for name, content in files.items() if (mean_pooling / name).read_bytes() != content}
    assert changed_files == {"model.safetensors"}


def test_equal_seeds_give_equal_bytes(corpus: Experiment, weights: Path, tmp_path: Path) -> None:
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder = write_backbone(HuggingFace(path=str(weights), pooling="mean"), tmp_path / name)
        pretrain(Masked(0.15), corpus, folder, seed, epochs=1)
        digests.append(sha256(folder / "model.safetensors"))
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.slow
def test_masked_tokens_are_predicted_better_after_than_before(corpus: Experiment, tmp_path: Path) -> None:
    backbone = HuggingFace(package=MINILM, pretrained=False, config=SMALL_BERT, lr_scale=30.0)
    _, metrics = pretrain(Masked(0.15), corpus, write_backbone(backbone, tmp_path / "scratch"), epochs=15)
    assert metrics["before/masked_accuracy"] < 0.05 < metrics["best/masked_accuracy"] <= 1
    assert metrics["validation/perplexity"] < metrics["before/perplexity"] / 10
    # the masks are the same in each pass, so the loss and the perplexity of the last one agree
    loss = torch.tensor(metrics["validation/loss"])
    assert metrics["validation/perplexity"] == pytest.approx(float(loss.exp()), 1e-3)


def test_without_learning_every_pass_over_validation_gives_the_same_metrics(
    corpus: Experiment, mean_pooling: Path
) -> None:
    _, metrics = pretrain(Masked(0.15), corpus, mean_pooling, lr=1e-30)
    for name in ("masked_accuracy", "perplexity"):
        assert metrics[f"validation/{name}"] == pytest.approx(metrics[f"before/{name}"], 1e-5)


def test_an_architecture_without_a_masked_language_model_is_refused(corpus: Experiment, tmp_path: Path) -> None:
    lstm = LSTM(package=MINILM, embedding_size=8, hidden_size=8, dropout=0.0)
    with pytest.raises(UserError, match="architecture lstm, which has no masked-language-model head"):
        pretrain(Masked(0.15), corpus, write_backbone(lstm, tmp_path / "lstm"))


@pytest.mark.usefixtures("project_dir")
def test_images_are_refused_before_training() -> None:
    experiment = prepared_experiment(*DIGITS, "use.pretrain=masked")
    with pytest.raises(UserError, match="pretrain masked is for text data, but data digits is image"):
        pretrain_load.main(experiment, Run())
    assert not Path("data/pretrain_load/teacher").exists()


@pytest.mark.parametrize("rate", [0, 1, -0.1])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match=f"rate is {rate}, expected a share"):
        Masked(rate)
