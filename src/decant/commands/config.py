"""`decant config`: the whole config, checked."""

from collections.abc import Sequence

import yaml

from decant.experiment.compatible import check_compatible
from decant.experiment.experiment import Experiment


def run(overrides: Sequence[str]) -> None:
    """Print the config as yaml.

    Raises:
        UserError: with every problem in it.
    """
    experiment = Experiment.load(overrides)
    check_compatible(experiment)
    print(yaml.safe_dump(experiment.config, sort_keys=False, allow_unicode=True), end="")
