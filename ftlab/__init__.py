"""ftlab: a fine-tuning lab for images in the browser."""

import os

__version__ = "0.1.0"

# PyTorch's threads wait for each other thousands of times a second, at full speed as GCC's OpenMP has it: where another
# program (the browser, for one) wanted one of two cores, a training took five times as long. Now they sleep after some
# microseconds. It is read when PyTorch is loaded, so it stands here; what a person chose stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# The Hugging Face Hub's loader asks who runs it, and tells: not from here. Read when it is imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
