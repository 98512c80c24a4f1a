"""The environment variables that a yaml may read: DVC, MLflow and outputs keep the values of a config."""

import os

from decant.core.errors import UserError

DECLARED = {
    "DECANT_DATA": "folder of data sets",
    "DECANT_IMAGES": "folder of images",
    "DECANT_MODEL": "folder of a model",
    "DECANT_WEIGHTS": "folder of weights",
    "DECANT_TRAINER": "file of conf/trainer/",
    "SLURM_NNODES": "number of machines",
}
"""By name: what the variable holds."""


def declared_variable(name: str, *default: str | None) -> str | None:
    """The resolver `oc.env` of OmegaConf, for variables in `DECLARED` alone.

    Raises:
        UserError: the variable is another, or has neither a value nor a default.
    """
    if name not in DECLARED:
        raise UserError(
            f"${{oc.env:{name}}} would put the value of an environment variable into the config, which DVC and MLflow "
            f"record; expected one of: {', '.join(DECLARED)}. Write the value into the yaml, unless it is a credential"
        )
    if name not in os.environ and not default:
        raise UserError(f"${{oc.env:{name}}} has no value; set the variable: {name}=<{DECLARED[name]}>")
    return os.environ.get(name, *map(_text, default))


def _text(default: str | None) -> str | None:
    return None if default is None else str(default)
