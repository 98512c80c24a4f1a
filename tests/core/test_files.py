from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from decant.core.files import replacing


def test_the_output_of_a_stage_is_readable_by_every_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with replacing(Path("out")) as folder:
        (folder / "inner").mkdir()
        save_file({"weight": torch.zeros(2)}, folder / "inner/model.safetensors")  # for its owner alone
    assert Path("out").stat().st_mode & 0o777 == 0o755
    assert Path("out/inner/model.safetensors").stat().st_mode & 0o777 == 0o644
