"""Outputs go to a DVC remote and come back."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from dvc.repo import Repo
from moto.server import ThreadedMotoServer
from support.clones import commit, environment, stages_to_run

from decant.core.hashing import digest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of libraries of DVC
]


@pytest.fixture
def remote(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The configuration of a remote: a folder, or a server that speaks as S3 does."""
    if request.param == "folder":
        yield f"url = {tmp_path / 'remote'}"
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=address, region_name="us-east-1").create_bucket(Bucket="models")
    yield f"url = s3://models/decant\n    endpointurl = {address}"
    server.stop()


@pytest.mark.parametrize("remote", ["folder", "s3"], indirect=True)
def test_a_colleague_gets_the_model_from_a_remote_and_trains_nothing(
    remote: str, copied_clone: Path, tmp_path: Path
) -> None:
    commit(copied_clone)
    colleague = tmp_path / "colleague"
    clone = ["git", "clone", "--quiet", str(copied_clone), str(colleague)]
    subprocess.run(clone, env=environment(copied_clone) | {"HOME": os.environ["HOME"]}, check=True)
    for folder in (copied_clone, colleague):
        (folder / ".dvc/config.local").write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    {remote}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copied_clone)
        Repo().push()
        patch.chdir(colleague)
        Repo().pull()
    assert digest(colleague / "data/distill") == digest(copied_clone / "data/distill")
    assert stages_to_run(colleague) == []
