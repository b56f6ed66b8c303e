"""ONNX: one graph from the pixels of an image to probabilities and class activation maps."""
