"""`python -m ftlab`, and the command `ftlab`."""

import sys

from ftlab import loading


def main() -> int:
    """Run one command; its exit status."""
    leave = loading.end_at_once()
    from ftlab import cli  # what it registers to run at the end must run before the end

    status = cli.main()
    leave(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
