"""Where a student starts: from its own weights or its teacher's, with all tokens or those used, and its dropout."""

import shutil
from pathlib import Path

import pandas as pd

from decant.config.schema import Distill
from decant.core.errors import UserError
from decant.core.files import read_json, write_json
from decant.dataset.modality.text_encoder import text_columns
from decant.dataset.prepared import Prepared
from decant.distillation import vocabulary_pruning
from decant.models import directory, dropout, surgery
from decant.models.predictions import ensemble_members


def start(weights: Path, knobs: Distill, prepared: Prepared, folder: Path) -> Path:
    """The model directory that a student is trained from; `weights`: whose, before the vocabulary is cut.

    It is `weights` itself, or made in `folder`.

    Raises:
        UserError: `knobs` ask for what this student does not have.
    """
    if knobs.vocabulary == "all" and knobs.dropout is None:
        return weights
    shutil.copytree(weights, folder)
    if knobs.dropout is not None:
        file = folder / "config.json"
        write_json(file, dropout.with_dropout(read_json(file), knobs.dropout))
    if knobs.vocabulary == "used":
        trim(folder, knobs, prepared)
    return folder


def trim(folder: Path, knobs: Distill, prepared: Prepared) -> None:
    """Cut the vocabulary of a model directory, in place, to what train and unlabelled texts use."""
    frames = [prepared.frames[s] for s in ("train", "unlabelled") if s in prepared.frames]
    texts = pd.concat([frame[c] for frame in frames for c in text_columns(frame)])
    kept = vocabulary_pruning.trim(folder, texts.tolist(), knobs.max_length)
    print(f"vocabulary: {kept:,} tokens kept", flush=True)


def cut(teacher: Path, student: Path, prepared: Prepared, folder: Path) -> Path:
    """What the manifest of `student` names of the fine-tuned `teacher`, layers, neurons and its head, in `folder`.

    Of several teachers it is the first.

    Raises:
        UserError: a student that is no part of its teacher.
    """
    mine, whole = (read_json(f / "manifest.json") for f in (student, student.parent / "teacher"))
    same = ("origin", "sha256", "pooling")
    if any(mine.get(k) != whole.get(k) for k in same) or whole.get("layers") or "sha256" not in mine:
        raise UserError(
            f"distill.start is teacher, but the student comes from {mine['origin']} and the teacher from "
            f"{whole['origin']}; expected one origin, with its layers uncut for the teacher: choose such a pair "
            "(minilm and minilm_2), or distill.start pretrained"
        )
    network, encoder = directory.load(ensemble_members(teacher)[0], prepared.modality)
    depth = getattr(network.config, "num_hidden_layers", None)
    if mine["layers"] is not None:
        if depth is None:
            raise UserError(f"{type(network).__name__} cannot be cut; set distill.start to pretrained")
        # the layer that averages comes last, and stays
        surgery.keep_layers(network, mine["layers"] + ([depth - 1] if mine["pooling"] == "mean" else []))
    if mine["intermediate_size"] is not None:
        surgery.narrow_feed_forward(network, mine["intermediate_size"])
    # what either yaml changes is as the student's says: with other weights it is the same network
    own = read_json(student / "config.json")
    network.config.update({key: own[key] for key in {**whole["config"], **mine["config"]} if key in own})
    folder.mkdir(parents=True)
    directory.save(network, encoder.processor, folder)
    write_json(folder / "manifest.json", mine)
    return folder
