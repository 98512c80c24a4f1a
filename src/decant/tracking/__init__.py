"""What MLflow is sent, and what waits on disk while its server is away."""
