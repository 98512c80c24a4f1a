"""From raw inputs to answers with ONNX Runtime: free of torch, shipped with every logged model."""
