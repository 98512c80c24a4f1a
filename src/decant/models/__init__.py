"""Model directories and predictions, what stages hand each other; operations on networks."""
