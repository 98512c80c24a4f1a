"""Components and values that are valid alone and do not go together; reported before any work."""

from collections.abc import Iterator
from pathlib import Path

from decant.augment import Augment
from decant.augment.none import NoAugmentation
from decant.core.errors import UserError
from decant.dataset.modality.by_size import modality_of
from decant.experiment.experiment import Experiment
from decant.models.predictions import FILE
from decant.pretrain import Pretrain


def check_compatible(experiment: Experiment) -> None:
    """Refuse an experiment whose parts do not go together.

    Raises:
        UserError: with every pair that does not.
    """
    checks = (data_problems, task_problems, teacher_problems, student_problems, value_problems)
    if problems := [problem for check in checks for problem in check(experiment)]:
        raise UserError(problems)


def data_problems(experiment: Experiment) -> Iterator[str]:
    """Components for other inputs than those of the data."""
    use, data, kind = experiment.use, experiment.data, modality_of(experiment.data.size).name
    backbones = {"teacher": experiment.teacher, "student": experiment.student, "scratch": experiment.scratch}
    for role, backbone in backbones.items():
        if backbone.modality != kind:
            yield (
                f"{role} {use[role]} is for {backbone.modality} data, but data {use['data']} is {kind}; choose another"
            )
        elif backbone.pairs_only and not data.pairs:
            yield (
                f"{role} {use[role]} compares two texts, but an input of data {use['data']} is one; choose another "
                f"{role}, or data of pairs"
            )
    if experiment.pretrain.needs_source and modality_of(experiment.source.size).name != kind:
        yield f"source {use['source']} is not {kind}, but data {use['data']} is; choose one like the other"
    optional: dict[str, Pretrain | Augment] = {"pretrain": experiment.pretrain, "augment": experiment.augment}
    for role, component in optional.items():
        if component.modality not in (None, kind):
            yield (
                f"{role} {use[role]} is for {component.modality} data, but data {use['data']} is {kind}; choose "
                f"another, or {role} none"
            )


def task_problems(experiment: Experiment) -> Iterator[str]:
    """Components and values for other targets than those of the task."""
    use, task = experiment.use, experiment.task
    if experiment.augment.single_label and not task.objective.single_label:
        yield (
            f"augment {use['augment']} compares probabilities over classes, but the task is {use['task']}; choose "
            "another, or the task classify"
        )
    if experiment.loss.single_label and not task.objective.single_label:
        yield (
            f"loss {use['loss']} compares probabilities over classes (or standardises them), but the task is "
            f"{use['task']}; choose kd (standardise: false), mse, hint, attention or relation, or the task classify"
        )
    if experiment.fine_tune.top_k_logits and not task.objective.single_label:
        yield f"fine_tune.top_k_logits is for one class of several, but the task is {use['task']}; set it to null"
    if experiment.adapt.head.one_logit and not task.objective.single_label:
        yield f"one_logit is for one label of two, but the task is {use['task']}; set it to false"
    for hparams in (experiment.fine_tune, experiment.distill) if not task.objective.allows_label_smoothing else ():
        if smoothing := hparams.label_smoothing:
            yield f"{hparams.section}.label_smoothing is {smoothing}, but a number cannot be smoothed; set it to 0.0"


def teacher_problems(experiment: Experiment) -> Iterator[str]:
    """What the adaptation of the teacher rules out."""
    use, adapt = experiment.use, experiment.adapt
    if not adapt.trains_backbone and not isinstance(experiment.augment, NoAugmentation):
        yield (
            f"adapt {use['adapt']} trains the teacher on features that are computed once, so it would not see augment "
            f"{use['augment']}, and its controls would; choose augment none, or another adapt"
        )
    if adapt.needs_pretrained and not experiment.teacher.has_weights() and not experiment.pretrain.needs_source:
        yield (
            f"adapt {use['adapt']} builds on pretrained weights, but use.teacher {use['teacher']} has none; choose "
            "adapt full, a teacher with weights, or a use.pretrain that makes them"
        )
    if adapt.probe and not experiment.teacher.cacheable:
        yield (
            f"adapt {use['adapt']} trains a head on cached features, but the head of use.teacher {use['teacher']} "
            "reads more than one vector; choose adapt full, gradual, layerwise or lora"
        )


def student_problems(experiment: Experiment) -> Iterator[str]:
    """What the student, and how it learns, rules out."""
    use, loss, hparams, fine_tune = experiment.use, experiment.loss, experiment.distill, experiment.fine_tune
    counts = {"folds": fine_tune.folds, "seeds": fine_tune.seeds}
    ensembles = [f"fine_tune.{name} is {count}" for name, count in counts.items() if count > 1]
    ensembles += ["distill.teachers names more"] * bool(hparams.teachers)
    states = [need for need in loss.needs if need != "logits"]
    if loss.needs and ensembles and (hparams.online_teacher or states):
        cause = "distill.online_teacher" if hparams.online_teacher else f"loss {use['loss']}"
        yield (
            f"{cause} runs the teacher with the student, but {ensembles[0]}, and only stored predictions of several "
            "teachers can be combined; choose one teacher, or a loss of logits"
        )
    own_head = experiment.adapt.head.custom
    backbones = {"teacher": experiment.teacher, "student": experiment.student}
    for role, backbone in backbones.items() if states else ():
        if not backbone.has_states or (role == "teacher" and own_head):
            under = f" under adapt {use['adapt']}" if backbone.has_states else ""
            yield (
                f"loss {use['loss']} compares {' and '.join(states)}, which {role} {use[role]}{under} does not give; "
                "choose a loss of logits (kd, dkd, dist, mse), or another"
            )
    if hparams.init_from == "teacher" and loss.needs:
        yield from init_problems(experiment)


def value_problems(experiment: Experiment) -> Iterator[str]:
    """Values that do not go with a component or with each other."""
    use, hparams, data = experiment.use, experiment.distill, experiment.data
    for folder in hparams.teachers if experiment.loss.needs else ():
        if not (Path(folder) / FILE).is_file():
            yield f"distill.teachers names {folder}, which has no {FILE}; put it there, or leave it out"
    if experiment.prepare.augmented_copies and (data.size is not None or data.pairs):
        yield f"prepare.augmented_copies is for texts, one per row, but data {use['data']} are not; set it to 0"
    if hparams.vocabulary == "used" and data.size is not None:
        yield "distill.vocabulary is used, but images have none; set it to all"
    if experiment.export.prune and experiment.trainer.devices != 1:
        yield f"export.prune is for one device, found trainer.devices {experiment.trainer.devices}; set it to 0"
    if hparams.dropout == 0 and experiment.loss.needs and experiment.augment.needs_dropout:
        yield (
            f"augment {use['augment']} compares two passes with different dropout, but distill.dropout is 0; choose "
            "another augment, or set distill.dropout to null"
        )


def init_problems(experiment: Experiment) -> Iterator[str]:
    """Why the student cannot start from layers of the fine-tuned teacher."""
    use, teacher, student, adapt = experiment.use, experiment.teacher, experiment.student, experiment.adapt
    names = ("hub", "revision", "package", "path", "sha256", "pooling", "pretrained")
    missing = object()
    if [getattr(teacher, k, missing) for k in names] != [getattr(student, k, object()) for k in names]:
        yield (
            f"distill.init_from is teacher, but teacher {use['teacher']} and student {use['student']} are not of one "
            "origin; choose such a pair (minilm and minilm_2), or distill.init_from pretrained"
        )
        return
    reasons = {
        f"teacher {use['teacher']} has removed layers itself": getattr(teacher, "layers", None)
        or getattr(teacher, "intermediate_size", None),
        f"teacher {use['teacher']} has no weights": not getattr(teacher, "pretrained", False),
        f"teacher {use['teacher']} is no plain stack of layers": not teacher.has_states,
        f"adapt {use['adapt']} gives it a head of its own": adapt.head.custom,
    }
    for reason in (r for r, holds in reasons.items() if holds):
        yield f"distill.init_from is teacher, but {reason}; choose another, or distill.init_from pretrained"
