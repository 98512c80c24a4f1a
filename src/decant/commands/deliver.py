"""`decant deliver`: sends the MLflow events that were queued while the server was away."""

from decant.core.stage import configure_libraries
from decant.tracking import outbox
from decant.tracking.outbox import REFUSED, STORE, Outbox
from decant.tracking.store import address


def run() -> None:
    """Send queued events, and print what remains.

    Raises:
        UserError: the store cannot be used.
    """
    configure_libraries()
    outbox.start()
    if count := outbox.refused_count():
        print(f"{count} events were refused, each with the reason: read {outbox.folder() / REFUSED}, then delete it")
    folders = outbox.pending_folders()
    for folder in folders:
        count = len(Outbox(folder).pending)
        print(f"{count} events are pending for {(folder / STORE).read_text()}: set MLFLOW_TRACKING_URI to it")
    print(f"nothing else is pending for {address()}" if folders else "nothing is pending")
