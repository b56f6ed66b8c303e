"""Argument parser of the commands: mistakes in one line, with the flags that were likely meant."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn

from ftlab.core import messages


class CommandParser(argparse.ArgumentParser):
    """Argument parser that reports an error in one line, without the usage of all flags before it."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one line on standard error."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help)\n")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:  # type: ignore[override]
        """Parse arguments; an unknown flag ends the program and names those that it resembles.

        Args:
            args: the arguments; None for those of this process.
            namespace: to put the values into; None for a new one.

        Returns:
            The namespace, and the arguments that are neither known nor flags.
        """
        namespace, unknown_arguments = super().parse_known_args(args, namespace)
        for argument in unknown_arguments:
            flag = argument.partition("=")[0]
            if near_flags := self._list_near_flags(flag):
                self.error(messages.get_text("cli.unknown_flag", flag=flag, near=" / ".join(near_flags)))
        return namespace, unknown_arguments

    def _list_near_flags(self, flag: str) -> list[str]:
        """Return the flags of this command, at most two, that a mistyped one resembles; none for what is no flag."""
        if not flag.startswith("--"):
            return []
        # Hidden ones are spellings of earlier versions.
        spellings = [
            spelling
            for action in self._actions
            if action.help != argparse.SUPPRESS
            for spelling in action.option_strings
        ]
        return difflib.get_close_matches(flag, spellings, n=2, cutoff=0.7)
