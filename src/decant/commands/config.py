"""`decant config`: the whole config, checked."""

from collections.abc import Sequence

from omegaconf import OmegaConf

from decant.config import compose
from decant.experiment import compatible


def run(overrides: Sequence[str]) -> None:
    """Print the config as yaml.

    Raises:
        UserError: with every problem in it.
    """
    cfg = compose.load(overrides)
    compatible.check(cfg)
    print(OmegaConf.to_yaml(cfg), end="")
