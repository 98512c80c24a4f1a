"""From a model directory to files that ONNX Runtime serves."""
