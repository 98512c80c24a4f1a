"""What MLflow has not been told yet, because its server was away.

decant deliver
"""

import argparse

from decant.core.stage import configure_libraries
from decant.tracking.outbox import ADDRESS, OUTBOX, REFUSED, Outbox, _lines, address, left, ready


def main(words: list[str]) -> None:
    """The command `decant deliver`.

    Raises:
        UserError: the store cannot be used.
    """
    plain = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser("decant deliver", description=__doc__, formatter_class=plain).parse_args(words)
    configure_libraries()
    ready()
    if (refused := OUTBOX / REFUSED).exists():
        print(f"{len(_lines(refused))} messages were refused, why stands in each: read {refused}, then delete it")
    for folder in left():
        waiting = len(Outbox(folder).waiting)
        print(f"{waiting} messages wait for {(folder / ADDRESS).read_text()} (MLFLOW_TRACKING_URI is to name it)")
    print(f"nothing else waits for {address()}" if left() else "nothing waits")
