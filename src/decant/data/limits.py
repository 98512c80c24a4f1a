"""What a table or a folder of a user may hold at most."""

MAX_CELL = 1 << 20
"""Characters of a cell: a thousand times what a network reads. Texts take up to 150 times their size in `prepare`."""
MAX_COLUMNS = 10_000
"""Columns of a table."""
MAX_LABELS = 10_000
"""Labels of one row."""
MAX_IMAGE_BYTES = 256 << 20
"""Bytes of an image file: four for each pixel that is allowed."""
