"""The command `decant`: `decant predict ...` is `decant.predict.main`."""

import signal
import sys
from importlib import import_module

from decant.core.errors import UserError, suggestion

COMMANDS = {
    "predict": "labels for texts or images in files, by a finished model",
    "compare": "whether one experiment is better than another, with intervals and p-values",
    "verify": "whether the committed experiment, made again from nothing, has the same bytes",
    "deliver": "what MLflow has not been told yet, because its server was away",
}
"""Each is a module of this name, imported when it is asked for."""


def main() -> int:
    """Run what the command line says; the exit code: 2 for what the user can put right, 130 after Ctrl-C."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as cat does: `decant predict ... | head` ends quietly
    command, *rest = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help"):
        print("usage: decant COMMAND ...\n", *(f"  {name:9}{what}" for name, what in COMMANDS.items()), sep="\n")
        print("\ndecant COMMAND --help says more.")
        return 0
    try:
        if command not in COMMANDS:
            near = suggestion(command, list(COMMANDS))
            raise UserError(f"there is no command {command!r}{near}; expected one of: {', '.join(COMMANDS)}")
        import_module(f"decant.{command}").main(rest)
    except UserError as error:
        print(*(f"error: {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
