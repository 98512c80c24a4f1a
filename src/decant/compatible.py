"""Pieces and knobs that are sound alone and do not go together; told before any work."""

from omegaconf import DictConfig

from decant import UserError, modality
from decant.adapt import Adapt
from decant.augment import Augment
from decant.augment.none import Unchanged
from decant.backbone import Backbone
from decant.config import piece
from decant.data import Source
from decant.pretrain import Pretrain
from decant.task import Task


def check(cfg: DictConfig) -> None:
    """Nothing, if the chosen pieces go together.

    Raises:
        UserError: with every pair that does not.
    """
    data: Source = piece(cfg, "data")
    task: Task = piece(cfg, "task")
    teacher: Backbone = piece(cfg, "teacher")
    pretrain: Pretrain = piece(cfg, "pretrain")
    adapt: Adapt = piece(cfg, "adapt")
    augment: Augment = piece(cfg, "augment")
    use, found = cfg.use, []
    kind = modality.of(data.size).name
    if pretrain.needs_source and modality.of(piece(cfg, "source").size).name != kind:
        found.append(f"source {use.source} is not {kind}, but data {use.data} is; choose one like the other")
    if augment.modality not in (None, kind):
        found.append(
            f"augment {use.augment} is for {augment.modality} data, but data {use.data} is {kind}; choose another, or "
            "augment none"
        )
    if not adapt.tunes and not isinstance(augment, Unchanged):
        found.append(
            f"adapt {use.adapt} trains the teacher on features that are computed once, so it would not see augment "
            f"{use.augment}, and its controls would; choose augment none, or another adapt"
        )
    if adapt.transfers and not teacher.has_weights() and not pretrain.needs_source:
        found.append(
            f"adapt {use.adapt} builds on pretrained weights, but use.teacher {use.teacher} has none; choose adapt "
            "full, a teacher with weights, or a use.pretrain that makes them"
        )
    if adapt.one_logit and not task.binary:
        found.append(f"one_logit is for one label of two, but the task is {use.task}; set it to false")
    if not task.smooths:
        found += [
            f"{stage}.label_smoothing is {cfg[stage].label_smoothing}, but a number cannot be smoothed; set it to 0.0"
            for stage in ("fine_tune", "distill")
            if cfg[stage].label_smoothing
        ]
    if found:
        raise UserError(found)
