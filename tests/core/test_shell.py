"""A command that is shown can be pasted into a shell."""

from __future__ import annotations

import os
import shlex

import pytest

from ftlab.core import shell


@pytest.mark.skipif(os.name == "nt", reason="quoted for another shell")
def test_a_command_is_quoted_where_the_shell_would_read_it_differently() -> None:
    words = ["python", "it's.py", "--data", "my pictures", "$(net)", "", "`a`", 'b"c']
    assert shlex.split(shell.format_command(words)) == words
    assert "--data 'my pictures'" in shell.format_command(words)
