"""From a model directory and prepared tables to a trained model directory."""
