"""Entry point of `python -m ftlab` and of the command `ftlab`."""

import sys

try:
    from ftlab.core import interruption, lazy_import
except KeyboardInterrupt:  # too early to say anything
    sys.exit(130)


def main() -> int:
    """Run one command.

    Returns:
        Its exit status.
    """
    set_exit_status = lazy_import.exit_without_teardown()
    try:
        interruption.watch_process()
        # Only now import the commands: atexit handlers run in reverse order, so those that this import registers run
        # before the handler above ends the process.
        status: int = lazy_import.import_module("ftlab.cli.main").main()
    except KeyboardInterrupt:  # during the import: `main` itself handles it
        interruption.announce_interrupt()
        status = interruption.INTERRUPTED_STATUS
    set_exit_status(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
