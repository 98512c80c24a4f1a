"""What the distill stage is built from: the distiller, the student's start, and its exported files."""
