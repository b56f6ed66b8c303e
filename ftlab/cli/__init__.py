"""The command line: `python -m ftlab`. Imports no torch until a command needs it."""
