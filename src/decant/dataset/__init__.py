"""Prepared data: the tables that `prepare` wrote, and how a modality turns their rows into batches."""
