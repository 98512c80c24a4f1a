"""Model directories and predictions, which stages pass to each other; operations on networks."""
