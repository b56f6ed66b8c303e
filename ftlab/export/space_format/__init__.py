"""A Space: a small Gradio app that answers images with the ONNX model, without ftlab."""
