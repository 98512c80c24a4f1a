import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.paths import ROOT

LOCKS = ("constraints.txt", "constraints-cpu.txt", "constraints-cuda.txt")


def locked(file: str) -> dict[str, str]:
    """The pins of a lock by the name of the package, each with its hashes."""
    pins = re.split(r"^(?=[A-Za-z])", (ROOT / file).read_text(), flags=re.MULTILINE)[1:]
    return {canonicalize_name(re.split("[= ]", pin)[0]): pin for pin in pins}


def requirements() -> list[Requirement]:
    """What pyproject.toml asks for, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [r for extra in project["optional-dependencies"].values() for r in extra]
    return [Requirement(r) for r in (*project["dependencies"], *extras) if not r.startswith("decant[")]


@pytest.mark.parametrize("file", LOCKS)
def test_every_pin_of_a_lock_has_its_version_and_hashes(file: str) -> None:
    pins = locked(file)
    assert pins
    for name, pin in pins.items():
        head, *hashes = pin.replace("\\\n", "\n").split("\n    ")
        assert re.fullmatch(r"[\w.-]+==[^\s;]+( ; .*?)? ?", head), name
        assert hashes, name
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}\s*", line) for line in hashes), name


def test_the_lock_holds_what_the_project_asks_for() -> None:
    pins = locked("constraints.txt")
    for requirement in requirements():
        version = pins[canonicalize_name(requirement.name)].partition("==")[2].split()[0]
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_the_torch_for_cpus_is_of_the_version_that_the_project_asks_for() -> None:
    (pin,) = locked("constraints-cpu.txt").values()
    assert pin.startswith("torch==2.13.0+cpu ")
    assert "torch==2.13.0" in map(str, requirements())


def test_the_packages_of_cuda_are_in_a_lock_of_their_own() -> None:
    cuda = locked("constraints-cuda.txt")
    assert not cuda.keys() & locked("constraints.txt").keys()
    assert all(re.match("nvidia-|cuda-|triton$", name) for name in cuda)


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_nothing_pulls_a_torchvision_from_the_index(name: str) -> None:
    """It is built for another torch than a CPU build, and then transformers and torchmetrics no longer import."""
    names = {canonicalize_name(r.name) for r in requirements()}.union(*map(locked, LOCKS))
    assert {"torch", "transformers"} <= names
    assert name not in names


def test_setup_installs_nothing_without_a_hash_but_the_project_itself() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "setup"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    installs = re.findall(r"pip install[^|#>\n]*", done.stdout)
    assert len(installs) == 5
    for install in installs:
        assert {"--no-deps", "--no-build-isolation"} <= set(install.split())
        assert ("--require-hashes" in install) != ("--editable ." in install)


@pytest.mark.slow
def test_the_bill_of_materials_names_packages_with_versions_and_hashes(tmp_path: Path) -> None:
    pytest.importorskip("cyclonedx_py")
    done = subprocess.run(["make", "--dry-run", "sbom"], cwd=ROOT, capture_output=True, text=True, check=True)
    (command,) = [line for line in done.stdout.splitlines() if line.startswith("cyclonedx-py")]
    (tmp_path / "lock.txt").write_text(locked("constraints.txt")["torch"])  # all take long
    files = {"constraints.txt": "lock.txt", "sbom.json": "sbom.json"}
    words = [str(tmp_path / files[word]) if word in files else word for word in command.split()]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    (component,) = json.loads((tmp_path / "sbom.json").read_text())["components"]
    assert (component["name"], component["version"]) == ("torch", "2.13.0")
    hashes = {entry["content"] for entry in component["externalReferences"][0]["hashes"]}
    assert hashes == set(re.findall(r"sha256:(\w+)", locked("constraints.txt")["torch"]))
