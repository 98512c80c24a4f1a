"""`decant deliver`: sends the MLflow events that were queued while the server was away."""

from decant.core.stage import configure_libraries
from decant.tracking.outbox import ADDRESS, OUTBOX, REFUSED, Outbox, _lines, address, left, ready


def run() -> None:
    """Send queued events, and print what remains.

    Raises:
        UserError: the store cannot be used.
    """
    configure_libraries()
    ready()
    if (refused := OUTBOX / REFUSED).exists():
        print(f"{len(_lines(refused))} messages were refused, each with its reason: read {refused}, then delete it")
    for folder in left():
        count = len(Outbox(folder).waiting)
        print(f"{count} messages wait for {(folder / ADDRESS).read_text()} (set MLFLOW_TRACKING_URI to it)")
    print(f"nothing else waits for {address()}" if left() else "nothing waits")
