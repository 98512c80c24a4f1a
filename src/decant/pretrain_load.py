"""Fetch, check and write the initial weights of teacher, student and the from-scratch control.

Where the teacher's weights cannot be fetched, `use.pretrain` trains them on the source data.

python -m decant pretrain_load [use.teacher=distilbert]
"""

from importlib import import_module
from pathlib import Path

from decant.backbone import Backbone
from decant.core import manifest
from decant.core.errors import UserError
from decant.core.files import read_json, replacing
from decant.core.hashing import code_digest
from decant.dataset.modality.by_size import modality_of
from decant.dataset.prepared import SOURCE, read_prepared
from decant.experiment.compatible import check_compatible
from decant.experiment.experiment import Experiment
from decant.experiment.stage import run_stage
from decant.models import dropout
from decant.tracking.runs import Run
from decant.training.job import PRETRAINED, TrainingJob

OUT = PRETRAINED


def main(experiment: Experiment, run: Run) -> None:
    """Write a model directory with a manifest for each role to data/pretrain_load/<role>/."""
    check_compatible(experiment)
    backbones = {"teacher": experiment.teacher, "student": experiment.student, "scratch": experiment.scratch}
    for role, backbone in backbones.items():
        with replacing(OUT / role) as folder:
            write_backbone(backbone, folder)
            if role == "teacher" and experiment.pretrain.needs_source:
                pretrain(experiment, folder, run)
        check_inputs(experiment, role)
        facts = read_json(OUT / role / manifest.FILE)
        print(f"{role}: {experiment.use[role]} ({facts['origin']})")
        run.set_tags({f"{role}.{key}": value for key, value in facts.items() if key != "files"})


def write_backbone(backbone: Backbone, folder: Path) -> None:
    """Write the model directory of `backbone` and its manifest.json."""
    facts = {
        **backbone.write(folder),
        "family": type(backbone).__name__,
        "code": code_digest(type(backbone)),
        "lr_scale": backbone.lr_scale,
    }
    if network := read_json(folder / "config.json").get("architecture_module"):  # later stages import it by name
        facts["network_code"] = code_digest(import_module(network))
    manifest.write(folder, **facts)


def pretrain(experiment: Experiment, folder: Path, run: Run) -> None:
    """Train the backbone in `folder` on the source data, and record it in the manifest."""
    names = {"pretrain": experiment.use["pretrain"], "source": experiment.use["source"]}
    print(f"pretraining: {names['pretrain']} on {names['source']}", flush=True)
    job = TrainingJob(
        prepared=read_prepared(SOURCE),
        objective=experiment.pretrain.task.objective,
        init_dir=folder,
        hparams=experiment.pretrain_load,
        seed=experiment.seed,
        trainer=experiment.trainer,
        run=run,
        augment=experiment.augment,
    )
    experiment.pretrain.train(job)
    manifest.write(folder, **names)


def check_inputs(experiment: Experiment, role: str) -> None:
    """Refuse, before any training, inputs longer than a network takes, and dropout that it does not have."""
    hparams = experiment.distill if role == "student" else experiment.fine_tune
    if role == "student" and experiment.loss.needs and experiment.distill.dropout is not None:
        dropout.with_dropout(read_json(OUT / role / "config.json"), experiment.distill.dropout)
    try:
        modality_of(experiment.data.size).encoder(OUT / role, hparams.max_length)
    except UserError as error:
        raise UserError([f"{hparams.section}: {problem}" for problem in error.problems]) from error


if __name__ == "__main__":
    run_stage("pretrain_load", main)
