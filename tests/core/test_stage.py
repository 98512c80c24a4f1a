from pathlib import Path

import pytest
import torch
from support.commands import keep_process_settings, run_python

from decant.core import stage
from decant.core.errors import UserError
from decant.core.stage import exhaustion_explained, stage_process


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the working directory; the settings of this process stay as they are."""
    keep_process_settings(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("process")
class TestErrorsOfAStage:
    def test_problems_of_the_user_are_lines_without_a_traceback(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit, match="2"), stage_process("prepare"):
            raise UserError(["one problem", "another"])
        assert capsys.readouterr().err == "decant: one problem\ndecant: another\n"

    def test_an_error_of_decant_stays_what_it_is(self) -> None:
        with pytest.raises(ZeroDivisionError), stage_process("prepare"):
            1 / 0  # noqa: B018

    def test_a_missing_output_of_an_earlier_stage_is_named_with_the_command(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit, match="2"), stage_process("fine_tune"):
            Path("data/prepare/card.json").read_text()
        assert capsys.readouterr().err == (
            "decant: no data/prepare/card.json, which an earlier stage writes; run: dvc repro fine-tune\n"
        )

    def test_another_missing_file_is_an_error_of_decant(self) -> None:
        with pytest.raises(FileNotFoundError), stage_process("fine_tune"):
            Path("elsewhere").read_text()

    @pytest.mark.parametrize(("name", "deleted"), [("prepare", False), ("pretrain_load", False), ("distill", True)])
    def test_outputs_that_dvc_deleted_come_back_with_its_checkout(
        self, name: str, deleted: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("DVC_STAGE", name)
        with pytest.raises(SystemExit, match="2"), stage_process(name):
            raise UserError("bad")
        assert ("come back with: dvc checkout" in capsys.readouterr().err) == deleted

    @pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), "130"), (SystemExit(143), "143")])
    @pytest.mark.parametrize("saved", [False, True])
    def test_a_stopped_stage_says_whether_it_can_be_resumed(
        self, stop: BaseException, code: str, saved: bool, process: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        if saved:
            (process / ".state/fine_tune/0").mkdir(parents=True)
            (process / ".state/fine_tune/0/1.ckpt").touch()
        with pytest.raises(SystemExit, match=code), stage_process("fine_tune"):
            raise stop
        assert ("the same command resumes it" in capsys.readouterr().err) == saved

    def test_a_stage_whose_dvc_is_gone_does_not_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stage, "is_orphaned", lambda: True)
        with pytest.raises(SystemExit, match="DVC, which started this stage, is gone"), stage_process("prepare"):
            pytest.fail("it started")


def exhaust_memory(kind: str) -> None:
    if kind == "torch":
        torch.empty(2**48)
    if kind == "cuda":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    bytearray(2**62)


@pytest.mark.parametrize("kind", ["torch", "cuda", "python"])
def test_where_memory_ends_the_message_names_what_to_lower(kind: str) -> None:
    with pytest.raises(UserError, match=r"not enough memory") as caught, exhaustion_explained("distill"):
        exhaust_memory(kind)
    assert "raise accumulate in conf/trainer/" in str(caught.value)
    assert "lower distill.batch_size or distill.max_length in params.yaml" in str(caught.value)


def test_a_stage_that_does_not_train_has_no_batch_to_lower() -> None:
    with pytest.raises(UserError, match=r"or give it fewer rows"), exhaustion_explained("prepare"):
        raise MemoryError


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("database or disk is full"), OSError(122, "quota")]
)
def test_a_full_disk_is_named_with_the_next_step(error: Exception) -> None:
    words = r"the disk is full .* free some .* and run the same command again"
    with pytest.raises(UserError, match=words), exhaustion_explained("distill"):
        raise error


def test_other_errors_are_not_explained() -> None:
    with pytest.raises(ZeroDivisionError), exhaustion_explained("distill"):
        1 / 0  # noqa: B018


@pytest.mark.slow
def test_a_traceback_holds_no_credentials(tmp_path: Path) -> None:
    script = (
        "from decant.core import stage; stage.configure_libraries()\n"
        "raise ValueError('postgresql://me:hunter22@db and tok-98hgf7dk2')"
    )
    done = run_python("-c", script, cwd=tmp_path, SHOP_TOKEN="tok-98hgf7dk2")
    assert "ValueError: postgresql://db and ***" in done.stderr
    assert "hunter22" not in done.stderr


@pytest.mark.slow
def test_a_stage_ends_with_dvc_even_if_a_library_swallows_the_signal(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, time, psutil; from decant.core import stage\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "stage.GRACE_SECONDS = 0.5\n"
        "stage.end_with(psutil.Process(subprocess.Popen(['sleep', '0.1']).pid))\n"
        "def busy(): time.sleep(600)\n"
        "busy()\n"
    )
    done = run_python("-c", script, cwd=tmp_path)
    assert done.returncode == 1
    assert "in busy" in done.stderr
