"""ExecuTorch: a program for phones and small computers, with XNNPACK's kernels."""
