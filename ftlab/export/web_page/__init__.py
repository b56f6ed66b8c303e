"""Web page: static files that answer images in the visitor's browser, with onnxruntime-web."""
