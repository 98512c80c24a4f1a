"""A small BERT to pretrain, and the tables of a corpus."""

from pathlib import Path

import pytest
from support.paths import ROOT
from support.source_corpus import TEXTS, pretraining, write_backbone, write_small_bert

from decant import prepare
from decant.backbone.huggingface import HuggingFace
from decant.experiment.experiment import Experiment
from decant.tracking.runs import Run


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with weights and a pooler."""
    return write_small_bert(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def averaging(weights: Path, tmp_path: Path) -> Path:
    """The model directory of a teacher with a layer for mean pooling."""
    return write_backbone(HuggingFace(path=str(weights), pooling="mean"), tmp_path / "averaging")


@pytest.fixture(scope="session")
def prepared_corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Experiment]:
    """Fifty texts without labels as the source data: the folder that prepare wrote them to, and the experiment."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "data").mkdir()
    (folder / "data/raw").symlink_to(ROOT / "data/raw")
    (folder / "corpus.csv").write_text("text\n" + "\n".join(f'"{t}"' for t in TEXTS))
    unlabelled = [f"source.{key}=null" for key in ("train", "test", "target", "classes")]
    names = ["use.data=toy", "use.source=toy", "use.pretrain=masked", "source.unlabelled=corpus.csv"]
    experiment = pretraining(*names, *unlabelled)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        prepare.main(experiment, Run())
    return folder, experiment


@pytest.fixture
def corpus(prepared_corpus: tuple[Path, Experiment], monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """An experiment that pretrains on the corpus, in the folder that holds its tables."""
    folder, experiment = prepared_corpus
    monkeypatch.chdir(folder)
    return experiment
