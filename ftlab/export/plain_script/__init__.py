"""A run as a plain PyTorch script and as a notebook: source text that needs no ftlab."""
