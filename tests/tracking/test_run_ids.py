from pathlib import Path

import pytest

from decant.tracking import events, run_ids, store


def test_events_find_the_run_of_a_provisional_id_from_another_process(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.connect()
    run_id = run_ids.provisional()
    start = events.StartRun(run_id, "distill", {}, 1)
    start.deliver()
    monkeypatch.setattr(run_ids, "_assigned", {})
    start.deliver()
    events.SetTags(run_id, {"colour": "red"}).deliver()
    events.StartRun(run_ids.provisional(), "control", {"mlflow.parentRunId": run_id}, 2).deliver()
    child, run = store.find("")
    assert run.data.tags["colour"] == "red"
    assert child.data.tags["mlflow.parentRunId"] == run.info.run_id


def test_the_id_of_a_key_is_the_same_in_every_process_and_others_are_new() -> None:
    assert run_ids.provisional("state", "control") == run_ids.provisional("state", "control")
    ids = [run_ids.provisional(*key) for key in (("state", "control"), ("state control",), ("state",), (), ())]
    assert len(set(ids)) == 5
