from pathlib import Path

from support.pretraining import prepared_experiment, write_backbone

from decant import pretrain_load
from decant.tracking.runs import Run


def contents(folder: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in folder.iterdir()}


def test_the_weights_are_the_bytes_that_the_backbone_writes(project_dir: Path, weights: Path) -> None:
    teacher = ["use.teacher=local", f"teacher.path={weights}"]
    experiment = prepared_experiment("use.data=toy", "use.pretrain=none", *teacher)
    assert [f.name for f in Path("data/prepare/source").iterdir()] == ["card.json"]
    pretrain_load.main(experiment, Run())
    backbones = {"teacher": experiment.teacher, "student": experiment.student, "scratch": experiment.scratch}
    for role, backbone in backbones.items():
        expected = write_backbone(backbone, project_dir / role)
        assert contents(Path("data/pretrain_load") / role) == contents(expected)
