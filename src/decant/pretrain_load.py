"""Fetch, check and write the starting weights of teacher, student and the from-scratch control.

Where there are no weights to fetch, `use.pretrain` makes those of the teacher from the source data.

python -m decant.pretrain_load [use.teacher=distilbert]
"""

from importlib import import_module
from pathlib import Path

from omegaconf import DictConfig

from decant.backbone import Backbone
from decant.config.compose import ROLES, piece, settings
from decant.core.errors import UserError
from decant.core.files import read_json, replacing, write_json
from decant.core.hashing import code
from decant.dataset.modality.by_size import modality_of
from decant.experiment import compatible, stage
from decant.models import dropout
from decant.pretrain import Pretrain
from decant.tracking.runs import Run

OUT = Path("data/pretrain_load")


def main(cfg: DictConfig, tracked: Run) -> None:
    """Write a model directory with a manifest for each role to data/pretrain_load/<role>/."""
    compatible.check(cfg)
    backbones = {role: piece(cfg, role) for role, kind in ROLES.items() if kind == "backbone"}
    pretrain: Pretrain = piece(cfg, "pretrain")
    for role, backbone in backbones.items():
        with replacing(OUT / role) as folder:
            write(backbone, folder)
            if role == "teacher" and pretrain.needs_source:
                print(f"pretraining: {cfg.use.pretrain} on {cfg.use.source}", flush=True)
                pretrain.train(cfg, settings(cfg, "pretrain_load"), folder, tracked)
                amend(folder, {"pretrain": cfg.use.pretrain, "source": cfg.use.source})
        if role == "student" and piece(cfg, "loss").needs and cfg.distill.dropout is not None:
            # what it cannot drop is told before a teacher is trained
            dropout.with_dropout(read_json(OUT / role / "config.json"), cfg.distill.dropout)
        fits(cfg, role)
        manifest = read_json(OUT / role / "manifest.json")
        print(f"{role}: {cfg.use[role]} ({manifest['origin']})")
        tracked.tags({f"{role}.{key}": value for key, value in manifest.items()})


def fits(cfg: DictConfig, role: str) -> None:
    """Refuse inputs that are longer than a network takes, before one is trained."""
    section = "distill" if role == "student" else "fine_tune"
    try:
        modality_of(piece(cfg, "data").size).encoder(OUT / role, cfg[section].max_length)
    except UserError as error:
        raise UserError([f"{section}: {problem}" for problem in error.problems]) from error


def write(backbone: Backbone, folder: Path) -> None:
    """The model directory of `backbone` and its manifest.json."""
    manifest = {
        **backbone.write(folder),
        "family": type(backbone).__name__,
        "code": code(type(backbone)),
        "lr_scale": backbone.lr_scale,
    }
    if network := read_json(folder / "config.json").get("architecture_module"):  # later stages import it by name
        manifest["network_code"] = code(import_module(network))
    write_json(folder / "manifest.json", manifest)


def amend(folder: Path, facts: dict[str, str]) -> None:
    """Add to the manifest of a model directory."""
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", manifest | facts)


if __name__ == "__main__":
    stage.stage("pretrain_load", main)
