"""Networks: backbones with a new head, what of them is trained, and which of their layers Grad-CAM can use."""
