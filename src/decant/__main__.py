"""`python -m decant <stage> [OVERRIDE ...]`: a stage, as dvc.yaml starts it.

Settings that libraries read when they are imported come first. Ctrl-C during the imports, which take seconds, ends the
process without a traceback; nothing has begun then.
"""

import os
import runpy
import signal
import sys

STAGES = ("prepare", "pretrain_load", "fine_tune", "distill", "evaluate")
SETTINGS = {
    "GOMP_SPINCOUNT": "1000",  # a thread of OpenMP that waits soon stops spinning
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def main() -> None:
    """Run the stage that the command line names."""
    if len(sys.argv) < 2 or sys.argv[1] not in STAGES:
        sys.exit(f"usage: python -m decant {{{','.join(STAGES)}}} [OVERRIDE ...]; other commands: decant --help")
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a job in the background ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    runpy.run_module(f"decant.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
