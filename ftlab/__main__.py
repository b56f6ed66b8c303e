"""`python -m ftlab`, and the command `ftlab`."""

import sys

from ftlab.core import lazy_import


def main() -> int:
    """Run one command; its exit status."""
    leave = lazy_import.end_at_once()
    # After that: what it registers to run at the end must run before the end.
    status: int = lazy_import.module("ftlab.cli.main").main()
    leave(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
