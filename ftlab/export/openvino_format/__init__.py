"""OpenVINO: one model from the pixels of an image to class activation maps, for Intel processors."""
