"""Command line: one parser, and a function per command in `commands/`."""
