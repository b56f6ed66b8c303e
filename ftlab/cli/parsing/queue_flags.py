"""Flags of the commands that start a training: the queue and the cluster."""

from __future__ import annotations

import argparse

from ftlab.core import messages


def add_queue_flags(command_parser: argparse.ArgumentParser) -> None:
    """Add the flags of a training that may wait in the queue, or be trained on a cluster."""
    command_parser.add_argument("--queue", action="store_true", help=messages.get_text("cli.wait_queued"))
    command_parser.add_argument("--cluster", metavar="ADDRESS", help=messages.get_text("cli.cluster"))
    add_queue_dir_flag(command_parser)


def add_queue_dir_flag(command_parser: argparse.ArgumentParser) -> None:
    """Add the flag of the folder for the database of the queue."""
    command_parser.add_argument("--queue-dir", metavar="DIR", help=messages.get_text("cli.queue_dir"))
