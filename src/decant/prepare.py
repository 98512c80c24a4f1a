"""Read the data source, refuse data that would spoil an experiment, make missing splits, write Parquet and a card.

python -m decant prepare [use.data=mine]
"""

import pandas as pd

from decant.core.errors import UserError
from decant.core.files import read_json, replacing, write_json
from decant.dataset.prepared import PREPARED, SOURCE, check_batch_sizes
from decant.experiment.experiment import Experiment
from decant.experiment.stage import run_stage
from decant.preparation import similar_labels, splits, text_augmentation
from decant.preparation.cleaning import check_tables, drop_withheld
from decant.preparation.prepared_files import write_prepared
from decant.preparation.source_tables import SourceTables, load_tables
from decant.task import Tables
from decant.tracking.runs import Run

OUT = PREPARED


def main(experiment: Experiment, run: Run) -> None:
    """Write data/prepare/{train,validation,test,unlabelled}.parquet and card.json, and the same in source/."""
    target, originals = target_tables(experiment)
    batch_sizes = {"fine_tune": experiment.fine_tune.batch_size, "distill": experiment.distill.batch_size}
    check_batch_sizes(len(target.tables["train"]), batch_sizes)
    with replacing(OUT) as folder:
        encoded = write_prepared(target, experiment.task.target, folder)
        (folder / SOURCE.name).mkdir()
        if experiment.pretrain.needs_source:
            write_prepared(source_tables(experiment, originals), experiment.pretrain.task.target, folder / SOURCE.name)
        else:  # pretrain-load depends on this folder, and DVC does not store empty ones
            write_json(folder / SOURCE.name / "card.json", {"splits": {}})
    log_splits(target, encoded, run)


def target_tables(experiment: Experiment) -> tuple[SourceTables, Tables]:
    """The clean tables of the target task with all splits; and the same without augmented copies.

    Raises:
        UserError: every problem with them.
    """
    task, settings, seed = experiment.task, experiment.prepare, experiment.seed
    target = load_tables(experiment.data, task.target)
    target.dropped["labelled_copies"] = splits.make(target.tables, settings, task.target, seed)
    # dropping leaks and splitting can take the last row of a class
    if problems := check_tables(target.tables, task.target):
        raise UserError(problems)
    originals = dict(target.tables)
    if settings.augmented_copies:
        text_augmentation.add_copies(target.tables, settings.augmented_copies, target.modality, seed)
    return target, originals


def source_tables(experiment: Experiment, target: Tables) -> SourceTables:
    """Tables of the source task: train and validation, without rows on which the target task is tested.

    Where the labels of the source are used, also without rows that choose the target's epoch or lost their label there.
    """
    pretrain, settings, seed = experiment.pretrain, experiment.prepare, experiment.seed
    withheld = [target[s] for s in ("test", "validation", "unlabelled") if s in target]
    held_out = pd.concat(withheld if pretrain.labelled else withheld[:1])
    source_target = pretrain.task.target if pretrain.labelled else None
    source = load_tables(experiment.source, source_target)
    for unused in ("test", "unlabelled") if pretrain.labelled else ("test",):
        source.tables.pop(unused, None)
    source.dropped["leaks"] += drop_withheld(source.tables, held_out, source.source)
    if problems := check_tables(source.tables, source_target):
        raise UserError([f"the source data: {p}" for p in problems])
    if pretrain.labelled:
        splits.make_validation(source.tables, settings, pretrain.task.target, seed)
    else:
        splits.pool(source.tables, settings, seed)
    batch_sizes = {"pretrain_load": experiment.pretrain_load.batch_size}
    check_batch_sizes(len(source.tables["train"]), batch_sizes, " of the source data")
    return source


def log_splits(target: SourceTables, encoded: Tables, run: Run) -> None:
    """Log each split as a data set of the run; print its size, and what to look at in its labels."""
    card = read_json(OUT / "card.json")
    facts = card["splits"]
    for split, frame in encoded.items():
        inputs = list(target.modality.display(target.tables[split]))
        frame = frame.assign(input=inputs, target=frame["target"].astype(str))
        run.log_dataset(frame, split, facts[split]["sha256"])
        print(f"{split}: {len(frame)} rows")
        if inconsistent := facts[split]["duplicates_with_different_labels"]:
            print(f"{split}: {inconsistent} inputs occur with different labels; look through them")
    for group in card.get("similar_labels", []):
        print(similar_labels.warning(group, facts["train"]["classes"]))
    run.log_artifact(OUT / "card.json")


if __name__ == "__main__":
    run_stage("prepare", main)
