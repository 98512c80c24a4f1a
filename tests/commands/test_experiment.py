import signal
import sys

import pytest

from decant.commands import experiment
from decant.core.errors import UserError


@pytest.mark.parametrize("argument", ["--temp", "--queue", "--run-all"])
def test_places_that_dvc_deletes_are_refused(argument: str) -> None:
    with pytest.raises(UserError, match="deletes it with the MLflow runs in it"):
        experiment.run([argument])


@pytest.mark.parametrize(("given", "found"), [(signal.SIG_IGN, 0), (signal.default_int_handler, 1)])
def test_ctrl_c_is_for_dvc_unless_it_was_for_nobody(given: signal.Handlers, found: int) -> None:
    """A job in the background ignores it, and so does what it starts."""
    script = "import signal, sys; sys.exit(signal.getsignal(signal.SIGINT) is not signal.SIG_IGN)"
    before = signal.signal(signal.SIGINT, given)
    try:
        assert experiment.wait_for([sys.executable, "-c", script]) == found
        assert signal.getsignal(signal.SIGINT) is given
    finally:
        signal.signal(signal.SIGINT, before)
