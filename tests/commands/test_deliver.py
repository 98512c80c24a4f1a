import sys
from pathlib import Path

import pytest

from decant import cli
from decant.commands import deliver
from decant.tracking import outbox


def test_the_command_reports_refused_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outbox.OUTBOX.mkdir(parents=True)
    (outbox.OUTBOX / outbox.REFUSED).write_text("{}\n{}\n")
    deliver.run()
    out = capsys.readouterr().out
    assert f"2 events were refused, each with the reason: read {tmp_path}/.state/outbox/refused.jsonl" in out


def test_help_sends_nothing_to_mlflow(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "start", lambda: pytest.fail("it connected"))
    monkeypatch.setattr(sys, "argv", ["decant", "deliver", "--help"])
    assert cli.main() == 0
    assert "Usage: decant deliver" in capsys.readouterr().out
