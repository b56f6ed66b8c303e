"""`python -m ftlab`, and the command `ftlab`."""

import sys

from ftlab import loading


def main() -> int:
    """Run one command; its exit status."""
    leave = loading.end_at_once()
    # After that: what it registers to run at the end must run before the end.
    status: int = loading.module("ftlab.cli").main()
    leave(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
