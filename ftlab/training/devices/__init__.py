"""Where a training runs: its device, and its processes where there are several."""
