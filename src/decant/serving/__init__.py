"""Inference with ONNX Runtime, from raw inputs to predictions: without PyTorch, shipped with every logged model."""
