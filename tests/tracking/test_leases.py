"""Runs of dead processes are closed, and those of living ones are not: here, in a container, on another machine."""

import time

import mlflow
import pytest

from decant.core import processes
from decant.tracking import leases, store
from decant.tracking.leases import EXPIRY_SECONDS, HEARTBEAT_TAG, PROCESS_TAG, Renewal

HOUR = 3600.0


@pytest.fixture(autouse=True)
def connected(workdir: object) -> None:
    store.connect()


def create_run(name: str, tags: dict[str, str]) -> str:
    return mlflow.MlflowClient().create_run(store.experiment().experiment_id, run_name=name, tags=tags).info.run_id


def status(run_id: str) -> str:
    return mlflow.get_run(run_id).info.status


def move_to(patch: pytest.MonkeyPatch, container: str, kernel: str = "") -> None:
    """Make this process one of a container with the same host name, on the same kernel or another."""
    patch.setattr(processes, "_pid_namespace", lambda: container)
    if kernel:
        patch.setattr(processes, "boot_id", lambda: kernel)


def test_runs_of_dead_processes_are_closed_and_those_of_living_ones_are_not() -> None:
    dead = leases.tags() | {PROCESS_TAG: f"{processes.process_id()}0"}
    runs = [create_run("living", leases.tags()), create_run("dead", dead), create_run("foreign", {})]
    leases.close_dead()
    assert [status(run_id) for run_id in runs] == ["RUNNING", "KILLED", "RUNNING"]


@pytest.mark.parametrize("kernel", ["", "another"])
def test_two_containers_of_one_host_name_close_no_run_of_each_other(kernel: str) -> None:
    runs = []
    for container in ("one", "two"):
        with pytest.MonkeyPatch.context() as patch:
            move_to(patch, container, kernel and f"{kernel} {container}".replace(" ", "-"))
            runs.append(create_run(container, leases.tags()))
            leases.close_dead()
    assert [status(run_id) for run_id in runs] == ["RUNNING", "RUNNING"]


@pytest.mark.parametrize("kernel", ["", "another"])
@pytest.mark.parametrize(("age", "expected"), [(EXPIRY_SECONDS - 60, "RUNNING"), (EXPIRY_SECONDS + 60, "KILLED")])
def test_a_run_elsewhere_is_closed_when_its_heartbeat_stopped(
    age: float, expected: str, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        move_to(patch, "elsewhere", kernel)
        run_id = create_run("elsewhere", leases.tags())
    pass_time(monkeypatch, age)
    leases.close_dead()
    assert status(run_id) == expected


def pass_time(patch: pytest.MonkeyPatch, seconds: float) -> None:
    now, uptime = time.time() + seconds, processes.uptime() + seconds
    patch.setattr(store.time, "time", lambda: now)
    patch.setattr(processes, "uptime", lambda: uptime)


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_after_a_step_of_the_clock_no_living_process_is_taken_for_a_dead_one(
    step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [create_run("here", leases.tags())]
    with pytest.MonkeyPatch.context() as patch:
        move_to(patch, "elsewhere")
        runs.append(create_run("elsewhere", leases.tags()))
    now = time.time() + step
    monkeypatch.setattr(store.time, "time", lambda: now)
    leases.close_dead()
    assert [status(run_id) for run_id in runs] == ["RUNNING", "RUNNING"]


@pytest.mark.parametrize("heartbeat", ["", "?", "1", "a b", "1 2 3"])
def test_a_run_elsewhere_without_a_heartbeat_is_left_alone(heartbeat: str) -> None:
    run_id = create_run("elsewhere", {PROCESS_TAG: "host boot pid:[1] 1 1", HEARTBEAT_TAG: heartbeat})
    leases.close_dead()
    assert status(run_id) == "RUNNING"


def test_a_lease_is_renewed_while_the_run_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWAL_SECONDS", 0.001)
    run_id = create_run("living", leases.tags() | {HEARTBEAT_TAG: "never"})
    renewal = Renewal()
    with renewal.of(run_id):
        while mlflow.get_run(run_id).data.tags[HEARTBEAT_TAG] == "never":
            time.sleep(0.001)
    assert renewal.stop.is_set()
    mlflow.MlflowClient().set_tag(run_id, HEARTBEAT_TAG, "at the end")
    renewal.renew()
    assert mlflow.get_run(run_id).data.tags[HEARTBEAT_TAG] == "at the end"


def test_a_living_run_that_another_process_closed_runs_again_and_an_ended_one_does_not() -> None:
    run_id, renewal = create_run("living", leases.tags()), Renewal()
    client = mlflow.MlflowClient()
    with renewal.of(run_id):
        client.set_terminated(run_id, "KILLED")
        renewal.renew()
        assert status(run_id) == "RUNNING"
    client.set_terminated(run_id, "KILLED")
    renewal.renew()
    assert status(run_id) == "KILLED"


def test_an_outage_ends_no_renewal_and_blocks_no_end_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "WAIT_SECONDS", 0.01)
    run_id, renewal = create_run("living", leases.tags() | {HEARTBEAT_TAG: "never"}), Renewal()
    with renewal.of(run_id):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, "set_tag", lambda *_: 1 / 0)
            renewal.renew()
        renewal.renew()
        renewal.lock.acquire()  # a request that hangs
    assert mlflow.get_run(run_id).data.tags[HEARTBEAT_TAG] != "never"
