"""What a user can get wrong, and what has to be said of it; test_bad_inputs.py tries each."""

from support.bad_inputs.archives import ARCHIVES
from support.bad_inputs.builders import Bad
from support.bad_inputs.commands import COMMANDS
from support.bad_inputs.config import CONFIG
from support.bad_inputs.encodings import ENCODINGS
from support.bad_inputs.environment import ENVIRONMENT
from support.bad_inputs.images import IMAGES
from support.bad_inputs.irregular import IRREGULAR
from support.bad_inputs.json_lines_files import JSON_LINES
from support.bad_inputs.parquet_files import PARQUET_FILES
from support.bad_inputs.tables import TABLES
from support.bad_inputs.values import VALUES
from support.bad_inputs.weights import LOADED
from support.bad_inputs.yaml_files import YAML_FILES

TABLE: dict[str, list[Bad]] = {
    "irregular": IRREGULAR,
    "encodings": ENCODINGS,
    "data": TABLES,
    "parquet": PARQUET_FILES,
    "json lines": JSON_LINES,
    "images": IMAGES,
    "archives": ARCHIVES,
    "yaml": YAML_FILES,
    "config": CONFIG,
    "values": VALUES,
    "weights": LOADED,
    "environment": ENVIRONMENT,
    "command line": COMMANDS,
}
"""By kind."""
