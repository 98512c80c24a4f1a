"""Leases: a living process renews the heartbeat of its open runs, and runs of dead processes are closed.

A process of this boot and PID namespace is asked of the kernel. Another one, in a container or on another machine that
uses the same store, may have the same host name and the same pid: only a heartbeat that stopped tells that it is dead.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread

import mlflow
from mlflow.entities import Run

from decant.core import processes
from decant.tracking import run_ids, store

PROCESS_TAG, HEARTBEAT_TAG = "decant.process", "decant.heartbeat"
RENEWAL_SECONDS = 60.0
EXPIRY_SECONDS = 600.0
"""A lease that was not renewed for so long has expired: long enough for an outage of some renewals."""
WAIT_SECONDS = 1.0
"""The longest that the end of a run waits for a renewal under way."""


def tags() -> dict[str, str]:
    """The tags of a run that this process opens."""
    return {PROCESS_TAG: processes.process_id(), HEARTBEAT_TAG: _heartbeat()}


def close_dead() -> None:
    """Mark runs as KILLED whose process ended without closing them."""
    client = mlflow.MlflowClient()
    for run in dead_runs():
        if client.get_run(run.info.run_id).info.status == "RUNNING":  # its process may have ended in the meantime
            client.set_terminated(run.info.run_id, "KILLED")


def dead_runs() -> list[Run]:
    """Runs whose process ended without closing them."""
    return [run for run in store.find("attributes.status = 'RUNNING'") if _is_dead(run.data.tags)]


class Renewal:
    """Renews the leases of the open runs of this process, in a thread: an outage blocks no training."""

    def __init__(self) -> None:
        self.open_runs: list[str] = []
        self.lock = Lock()
        """Held during a renewal: one that ended after the run's end would open the run again."""
        self.stop = Event()

    @contextmanager
    def of(self, run_id: str) -> Iterator[None]:
        """Renew the lease of a run until the end of the block."""
        self.open_runs.append(run_id)
        if len(self.open_runs) == 1:
            self.stop = Event()
            Thread(target=self._renew_until, args=(self.stop,), daemon=True).start()
        try:
            yield
        finally:
            self.open_runs.remove(run_id)
            if not self.open_runs:
                self.stop.set()
            if self.lock.acquire(timeout=WAIT_SECONDS):
                self.lock.release()

    def _renew_until(self, stop: Event) -> None:
        while not stop.wait(RENEWAL_SECONDS):
            self.renew()

    def renew(self) -> None:
        """Renew all leases once; those that an outage prevents are renewed the next time."""
        for run_id in [*self.open_runs]:
            with suppress(Exception), self.lock:
                if run_id in self.open_runs:
                    _renew(run_ids.assigned(run_id))


renewal = Renewal()


def _renew(run_id: str) -> None:
    client = mlflow.MlflowClient()
    client.set_tag(run_id, HEARTBEAT_TAG, _heartbeat())
    if client.get_run(run_id).info.status == "KILLED":  # after an outage another process took this one for dead
        client.update_run(run_id, status="RUNNING")


def _heartbeat() -> str:
    """The time, by the store's clock and by the kernel's since its start, which no step of the clock changes."""
    return f"{store.clock():.0f} {processes.uptime():.0f}"


def _is_dead(run_tags: Mapping[str, str]) -> bool:
    alive = processes.is_alive(run_tags.get(PROCESS_TAG, ""))
    return _has_expired(run_tags) if alive is None else not alive


def _has_expired(run_tags: Mapping[str, str]) -> bool:
    try:
        clock, since_boot = map(float, run_tags[HEARTBEAT_TAG].split())
        same_kernel = run_tags[PROCESS_TAG].split()[1] == processes.boot_id()
    except (LookupError, ValueError):
        return False  # no run of this version of decant
    age = processes.uptime() - since_boot if same_kernel else store.clock() - clock
    return age > EXPIRY_SECONDS
