"""`python -m ftlab`."""

import sys

from ftlab import loading

leave = loading.end_at_once()

from ftlab.cli import main  # noqa: E402 (what it registers to run at the end must run before the end)

status = main()
leave(status)
sys.exit(status)
