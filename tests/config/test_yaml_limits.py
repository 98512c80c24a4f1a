"""What a yaml file may hold."""

import time
from pathlib import Path

import pytest
from support.paths import ROOT

from decant.config.compose import check_files, composed, parse_yaml
from decant.config.yaml_limits import MAX_DEPTH, MAX_NODES, MAX_TEXT, read_yaml
from decant.core.errors import UserError

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
REFUSED = {
    "a billion laughs": (LAUGHS, "more than 20,000 values, its aliases unfolded"),
    "laughs by merge keys": (LAUGHS.replace("[x, x]", "{x: 1}").replace("[", "{<<: [").replace("]", "]}"), "more than"),
    "a list in itself": ("a: &a [*a]", "the alias *a inside &a, and so no end"),
    "a mapping in itself": ("a: &a {b: [{c: *a}]}", "the alias *a inside &a, and so no end"),
    "a key in itself": ("&a {? *a : b}", "no end"),
    "deep lists": ("a: " + "[" * 100_000, f"{MAX_DEPTH} deep inside each other"),
    "deep mappings": ("a: " + "{a: " * 40_000, f"{MAX_DEPTH} deep inside each other"),
    "deep sequences": ("a:\n" + "- " * 100_000, f"{MAX_DEPTH} deep inside each other"),
    "many values": (f"a: [{'1,' * (MAX_NODES + 1)}]", "more than 20,000 values"),
    "a long value": (f"a: {'x' * (MAX_TEXT + 1)}", "a value of 1,001 characters"),
    "a large file": ("a: 1 # " + "x" * (1 << 18), "expected at most 262,144"),
    "an undefined alias": ("a: *b", "undefined alias"),
    "a number of 5,000 digits": ("a: 0x" + "9" * 5000, "a value of 5,002 characters"),
    "a thirteenth month": ("a: !!timestamp 2026-13-01", "month must be in 1..12"),
    "a word as a switch": ("a: !!bool perhaps", "does not parse"),
    "a control character": ('a: "\x01"', "control characters are not allowed"),
    "a python object": ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_yaml_file_without_bounds_is_refused_in_bounded_time(case: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(REFUSED[case][0])
    start = time.process_time()
    with pytest.raises(UserError) as caught:
        parse_yaml(file)
    assert time.process_time() - start < 1
    assert REFUSED[case][1] in str(caught.value)
    assert "params.yaml" in str(caught.value)


def test_anchors_and_merge_keys_within_bounds_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\n")
    assert parse_yaml(tmp_path / "a.yaml") == {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}


def test_every_yaml_that_ships_is_within_the_bounds() -> None:
    files = [*ROOT.glob("conf/**/*.yaml"), ROOT / "params.yaml"]
    assert all(read_yaml(file, file.name) == file.read_text("utf-8") for file in files)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", ["config.yaml", "loss/kd.yaml", "backbone/lstm.yaml", "trainer/cpu.yaml"])
def test_files_that_hydra_opens_are_checked_before_it_does(name: str, project: Path) -> None:
    (project / "conf").unlink()
    for file in ROOT.glob("conf/**/*.yaml"):
        copy = project / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text("a: &a [*a]\n" if copy == project / "conf" / name else file.read_text("utf-8"))
    with pytest.raises(UserError, match=rf"^conf/{name} has the alias \*a inside &a"):
        composed([], project)


def test_a_component_that_names_further_files_is_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use = composed([], ROOT)["use"]
    monkeypatch.setattr("decant.config.compose.read_yaml", lambda file, name: "defaults: [other]\n")
    with pytest.raises(UserError, match=r"conf/.* names other files in defaults:, whose changes DVC would miss"):
        check_files(use, project)


def test_the_check_at_the_start_of_a_stage_takes_milliseconds() -> None:
    use = composed([], ROOT)["use"]
    start = time.process_time()
    check_files(use, ROOT)
    assert time.process_time() - start < 0.05
