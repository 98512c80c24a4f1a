import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.git import git

from decant.core.errors import UserError
from decant.workspace.snapshot import inputs_of, take_snapshot


def test_a_snapshot_holds_edits_new_code_and_deletions_and_links_to_other_new_files(project: Path) -> None:
    snapshot = take_snapshot(project)
    files = git(project, "ls-tree", "-r", "--name-only", snapshot.tree).split()
    assert {"conf/new.yaml", "src/staged.py", "params.yaml", "data/raw/a.csv"} <= set(files)
    assert not {"src/a.py", "data/raw/new.csv", "weights/model.bin"} & set(files)
    assert git(project, "show", f"{snapshot.tree}:params.yaml") == "params.yaml: edited\n"
    assert snapshot.linked == ("data/raw/deep/ignored.bin", "data/raw/new.csv", "weights")
    assert snapshot.commit == git(project, "rev-parse", "HEAD").strip()


def test_an_edit_of_the_same_size_and_second_as_the_index_is_in_a_snapshot(project: Path) -> None:
    """DVC writes the index, and with it a time after which git takes the file for unchanged."""
    file = project / "README.md"
    before = file.stat()
    content = file.read_text()
    file.write_text(content.upper())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert git(project, "show", f"{take_snapshot(project).tree}:README.md") == content.upper() != content


def test_a_snapshot_changes_nothing(project: Path, state: Callable[[], object]) -> None:
    before = state()
    take_snapshot(project)
    assert state() == before


def test_equal_inputs_have_equal_ids_and_records_are_no_inputs(project: Path) -> None:
    first = take_snapshot(project)
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    git(project, "add", "dvc.lock")
    second = take_snapshot(project)
    assert second.inputs == first.inputs
    assert second.tree != first.tree
    (project / "conf/new.yaml").write_text("newer")
    assert take_snapshot(project).inputs != first.inputs


@pytest.mark.parametrize("initialized", [True, False])
def test_a_folder_without_a_commit_is_refused(initialized: bool, tmp_path: Path) -> None:
    if initialized:
        git(tmp_path, "init", "-q")
    with pytest.raises(UserError, match="without a commit" if initialized else "not a git repository"):
        take_snapshot(tmp_path)


def test_files_of_a_repository_in_data_raw_are_listed_one_by_one(project: Path) -> None:
    nested = project / "data/raw/nested"
    nested.mkdir()
    git(nested, "init", "-q")
    (nested / "a.csv").write_text("1")
    before = take_snapshot(project)
    assert "data/raw/nested/a.csv" in before.linked
    assert not [path for path in before.linked if ".git" in path]
    (nested / "a.csv").write_text("22")
    assert take_snapshot(project).raw != before.raw


def test_the_inputs_of_a_tree_do_not_depend_on_the_files_on_disk(project: Path) -> None:
    lock = project / "dvc.lock"
    lock.write_text("committed")
    git(project, "add", "dvc.lock")
    git(project, "commit", "-qm", "lock")
    lock.write_text("of an experiment")
    snapshot = take_snapshot(project)
    lock.write_text("of a later one")
    assert inputs_of(project, snapshot.tree) == snapshot.inputs
