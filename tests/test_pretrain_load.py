from pathlib import Path

import pytest
from support.pretraining import pretraining, write_backbone, write_small_bert

from decant import prepare, pretrain_load
from decant.core.errors import UserError
from decant.tracking.runs import Run


@pytest.mark.slow
def test_without_pretraining_the_weights_are_the_bytes_that_the_backbone_writes(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(project)
    weights = write_small_bert(tmp_path_factory.mktemp("weights"))
    experiment = pretraining("use.data=toy", "use.pretrain=none", "use.teacher=local", f"teacher.path={weights}")
    prepare.main(experiment, Run())
    assert [f.name for f in Path("data/prepare/source").iterdir()] == ["card.json"]
    pretrain_load.main(experiment, Run())
    for role in ("teacher", "student", "scratch"):
        expected = write_backbone(getattr(experiment, role), project / role)
        actual = Path("data/pretrain_load") / role
        assert {f.name: f.read_bytes() for f in actual.iterdir()} == {
            f.name: f.read_bytes() for f in expected.iterdir()
        }


def test_pretraining_of_texts_on_images_is_refused_before_training(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    images = [f"use.{role}=resnet_tiny" for role in ("teacher", "student", "scratch")]
    experiment = pretraining("use.data=digits", "use.source=digits_source", "use.pretrain=masked", *images)
    with pytest.raises(UserError, match="pretrain masked is for text data, but data digits is image"):
        pretrain_load.main(experiment, Run())
    assert not Path("data/pretrain_load/teacher").exists()
