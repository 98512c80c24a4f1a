"""One experiment: its components and values as one typed object, and how a stage runs on it."""
