"""The initial model directory of a student: its own weights or its teacher's, pruned vocabulary, its dropout."""

import shutil
from pathlib import Path

import pandas as pd

from decant.config.schema import Distill
from decant.core import manifest
from decant.core.errors import UserError
from decant.core.files import read_json, write_json
from decant.dataset.modality.text_encoder import text_columns
from decant.dataset.prepared import Prepared
from decant.distillation import vocabulary_pruning
from decant.models import directory, dropout, surgery
from decant.models.predictions import ensemble_members


def initial_student(hparams: Distill, student: Path, teacher: Path, prepared: Prepared, scratch: Path) -> Path:
    """The model directory from which a student is trained.

    `student` is its output of pretrain-load, `teacher` the fine-tuned teacher. Changed directories are written under
    `scratch`.

    Raises:
        UserError: `hparams` ask for something that this student does not have.
    """
    if hparams.init_from == "teacher":
        student = teacher_layers(teacher, student, prepared, scratch / "teacher_layers")
    if hparams.vocabulary == "all" and hparams.dropout is None:
        return student
    folder = Path(shutil.copytree(student, scratch / "initial"))
    if hparams.dropout is not None:
        config = folder / "config.json"
        write_json(config, dropout.with_dropout(read_json(config), hparams.dropout))
    if hparams.vocabulary == "used":
        prune_vocabulary(folder, prepared, hparams.max_length)
    manifest.write(folder)
    return folder


def prune_vocabulary(folder: Path, prepared: Prepared, max_length: int) -> None:
    """Remove tokens from a model directory, in place, that train and unlabelled texts do not use."""
    frames = [prepared.frames[s] for s in ("train", "unlabelled") if s in prepared.frames]
    texts = pd.concat([frame[c] for frame in frames for c in text_columns(frame)])
    count = vocabulary_pruning.prune(folder, texts.tolist(), max_length)
    print(f"vocabulary: {count:,} tokens remain", flush=True)


def teacher_layers(teacher: Path, student: Path, prepared: Prepared, folder: Path) -> Path:
    """Write to `folder` the layers, neurons and head of the fine-tuned `teacher` that the `student` keeps.

    The manifest of `student` names them. Of several teachers the first is used.

    Raises:
        UserError: a student that is no part of its teacher.
    """
    student_manifest, teacher_manifest = (read_json(f / "manifest.json") for f in (student, student.parent / "teacher"))
    check_same_origin(student_manifest, teacher_manifest)
    network, encoder = directory.load(ensemble_members(teacher)[0], prepared.modality)
    depth = getattr(network.config, "num_hidden_layers", None)
    if student_manifest["layers"] is not None:
        if depth is None:
            raise UserError(f"{type(network).__name__} cannot be cut; set distill.init_from to pretrained")
        # the layer for mean pooling comes last, and stays
        pooling_layer = [depth - 1] if student_manifest["pooling"] == "mean" else []
        surgery.keep_layers(network, student_manifest["layers"] + pooling_layer)
    if student_manifest["intermediate_size"] is not None:
        surgery.narrow_feed_forward(network, student_manifest["intermediate_size"])
    # keys that either yaml changes have the student's values: with other weights it is the same network
    config = read_json(student / "config.json")
    changed = {**teacher_manifest["config"], **student_manifest["config"]}
    network.config.update({key: config[key] for key in changed if key in config})
    folder.mkdir(parents=True)
    directory.save(network, encoder.processor, folder)
    manifest.write(folder, **student_manifest)
    return folder


def check_same_origin(student: dict[str, object], teacher: dict[str, object]) -> None:
    """Refuse a student whose weights do not come from the weights of its teacher; arguments: their manifests."""
    keys = ("origin", "sha256", "pooling")
    if any(student.get(k) != teacher.get(k) for k in keys) or teacher.get("layers") or "sha256" not in student:
        raise UserError(
            f"distill.init_from is teacher, but the student comes from {student['origin']} and the teacher from "
            f"{teacher['origin']}; expected one origin, with all layers in the teacher: choose such a pair "
            "(minilm and minilm_2), or distill.init_from pretrained"
        )
