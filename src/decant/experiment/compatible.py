"""Pieces and knobs that are sound alone and do not go together; told before any work."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from decant.adapt import Adapt
from decant.augment import Augment
from decant.augment.none import NoAugmentation
from decant.backbone import Backbone
from decant.config.compose import piece, settings
from decant.config.schema import Distill
from decant.core.errors import UserError
from decant.data import Source
from decant.dataset.modality.by_size import modality_of
from decant.loss import Loss
from decant.models.predictions import FILE
from decant.pretrain import Pretrain
from decant.task import Task


def check(cfg: DictConfig) -> None:
    """Nothing, if the chosen pieces go together.

    Raises:
        UserError: with every pair that does not.
    """
    if found := [*with_data(cfg), *with_task(cfg), *with_teacher(cfg), *with_student(cfg)]:
        raise UserError(found)


def with_data(cfg: DictConfig) -> Iterator[str]:
    """What is for other inputs than those of the data."""
    data: Source = piece(cfg, "data")
    pretrain: Pretrain = piece(cfg, "pretrain")
    augment: Augment = piece(cfg, "augment")
    use, kind = cfg.use, modality_of(data.size).name
    for role in ("teacher", "student", "scratch"):
        backbone: Backbone = piece(cfg, role)
        if backbone.modality != kind:
            yield f"{role} {use[role]} is for {backbone.modality} data, but data {use.data} is {kind}; choose another"
        elif backbone.pairs and not data.pairs:
            yield (
                f"{role} {use[role]} compares two texts, but an input of data {use.data} is one; choose another "
                f"{role}, or data of pairs"
            )
    if pretrain.needs_source and modality_of(piece(cfg, "source").size).name != kind:
        yield f"source {use.source} is not {kind}, but data {use.data} is; choose one like the other"
    optional: dict[str, Pretrain | Augment] = {"pretrain": pretrain, "augment": augment}
    for role, chosen in optional.items():
        if chosen.modality not in (None, kind):
            yield (
                f"{role} {use[role]} is for {chosen.modality} data, but data {use.data} is {kind}; choose another, or "
                f"{role} none"
            )


def with_task(cfg: DictConfig) -> Iterator[str]:
    """What is for other targets than those of the task."""
    task: Task = piece(cfg, "task")
    augment: Augment = piece(cfg, "augment")
    adapt: Adapt = piece(cfg, "adapt")
    if augment.single_label and not task.single_label:
        yield (
            f"augment {cfg.use.augment} compares probabilities over classes, but the task is {cfg.use.task}; choose "
            "another, or the task classify"
        )
    loss: Loss = piece(cfg, "loss")
    if loss.single_label and not task.single_label:
        yield (
            f"loss {cfg.use.loss} compares probabilities over classes (or standardises them), but the task is "
            f"{cfg.use.task}; choose kd (standardise: false), mse, hint, attention or relation, or the task classify"
        )
    if cfg.fine_tune.top_logits and not task.single_label:
        yield f"fine_tune.top_logits is for one class of several, but the task is {cfg.use.task}; set it to null"
    if adapt.one_logit and not task.single_label:
        yield f"one_logit is for one label of two, but the task is {cfg.use.task}; set it to false"
    for stage in ("fine_tune", "distill") if not task.smooths else ():
        if smoothing := cfg[stage].label_smoothing:
            yield f"{stage}.label_smoothing is {smoothing}, but a number cannot be smoothed; set it to 0.0"


def with_teacher(cfg: DictConfig) -> Iterator[str]:
    """What the adaptation of the teacher rules out."""
    teacher: Backbone = piece(cfg, "teacher")
    pretrain: Pretrain = piece(cfg, "pretrain")
    adapt: Adapt = piece(cfg, "adapt")
    use = cfg.use
    if not adapt.tunes and not isinstance(piece(cfg, "augment"), NoAugmentation):
        yield (
            f"adapt {use.adapt} trains the teacher on features that are computed once, so it would not see augment "
            f"{use.augment}, and its controls would; choose augment none, or another adapt"
        )
    if adapt.transfers and not teacher.has_weights() and not pretrain.needs_source:
        yield (
            f"adapt {use.adapt} builds on pretrained weights, but use.teacher {use.teacher} has none; choose adapt "
            "full, a teacher with weights, or a use.pretrain that makes them"
        )
    if adapt.probe and not teacher.cacheable:
        yield (
            f"adapt {use.adapt} trains a head on cached features, but the head of use.teacher {use.teacher} reads more "
            "than one vector; choose adapt full, gradual, layerwise or lora"
        )


def with_student(cfg: DictConfig) -> Iterator[str]:
    """What the student, or the way it learns, rules out."""
    loss: Loss = piece(cfg, "loss")
    knobs: Distill = settings(cfg, "distill")
    several = [f"fine_tune.{k} is {cfg.fine_tune[k]}" for k in ("folds", "seeds") if cfg.fine_tune[k] > 1]
    several += ["distill.teachers names more"] * bool(knobs.teachers)
    beside = "distill.consistent" if knobs.consistent else f"loss {cfg.use.loss}"
    if loss.needs and several and (knobs.consistent or set(loss.needs) - {"logits"}):
        yield (
            f"{beside} runs the teacher beside the student, but {several[0]}, and only stored predictions of several "
            "teachers can be combined; choose one teacher, or a loss of logits"
        )
    inside = " and ".join(n for n in loss.needs if n != "logits")
    adapt: Adapt = piece(cfg, "adapt")
    for role in ("teacher", "student") if inside else ():
        if not piece(cfg, role).states or (role == "teacher" and (adapt.hidden or adapt.one_logit)):
            under = f" under adapt {cfg.use.adapt}" if piece(cfg, role).states else ""
            yield (
                f"loss {cfg.use.loss} compares {inside}, which {role} {cfg.use[role]}{under} does not give; choose a "
                "loss of logits (kd, dkd, dist, mse), or another"
            )
    for folder in knobs.teachers if loss.needs else ():
        if not (Path(folder) / FILE).is_file():
            yield f"distill.teachers names {folder}, which has no {FILE}; put it there, or leave it out"
    if cfg.prepare.copies and (piece(cfg, "data").size is not None or piece(cfg, "data").pairs):
        yield f"prepare.copies is for texts, one to a row, but data {cfg.use.data} are not; set it to 0"
    if knobs.vocabulary == "used" and piece(cfg, "data").size is not None:
        yield "distill.vocabulary is used, but images have none; set it to all"
    if cfg.export.prune and cfg.trainer.devices != 1:
        yield f"export.prune is for one device, found trainer.devices {cfg.trainer.devices}; set it to 0"
    if knobs.dropout == 0 and loss.needs and piece(cfg, "augment").drops:
        yield (
            f"augment {cfg.use.augment} compares two passes with other dropout, but distill.dropout is 0; choose "
            "another augment, or set distill.dropout to null"
        )
    if knobs.start == "teacher" and loss.needs:
        yield from with_start(cfg)


def with_start(cfg: DictConfig) -> Iterator[str]:
    """Why the student cannot be cut from the fine-tuned teacher."""
    teacher, student, adapt = (piece(cfg, role) for role in ("teacher", "student", "adapt"))
    names = ("hub", "revision", "package", "path", "sha256", "pooling", "pretrained")
    missing = object()
    if [getattr(teacher, k, missing) for k in names] != [getattr(student, k, object()) for k in names]:
        yield (
            f"distill.start is teacher, but teacher {cfg.use.teacher} and student {cfg.use.student} are not of one "
            "origin; choose such a pair (minilm and minilm_2), or distill.start pretrained"
        )
    else:
        reasons = {
            f"teacher {cfg.use.teacher} is cut itself": teacher.layers or teacher.intermediate_size,
            f"teacher {cfg.use.teacher} has no weights": not teacher.pretrained,
            f"teacher {cfg.use.teacher} is no plain stack of layers": not teacher.states,
            f"adapt {cfg.use.adapt} gives it a head of its own": adapt.hidden or adapt.one_logit,
        }
        for reason in (r for r, holds in reasons.items() if holds):
            yield f"distill.start is teacher, but {reason}; choose another, or distill.start pretrained"
