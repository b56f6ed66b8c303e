"""`python -m ftlab`, and the command `ftlab`."""

import sys

from ftlab.core import lazy_import


def main() -> int:
    """Run one command; its exit status."""
    set_exit_status = lazy_import.exit_without_teardown()
    # After that: what it registers to run at the end must run before the end.
    status: int = lazy_import.import_module("ftlab.cli.main").main()
    set_exit_status(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
