"""Runs in MLflow: what is logged, where it is stored, and the queue on disk while the MLflow server is unavailable."""
