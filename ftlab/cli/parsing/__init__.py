"""Flags of the command line: parsers of commands, flags of settings, and the configuration that they stand for."""
