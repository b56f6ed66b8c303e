"""Foundations of every package: errors, messages, files, machine facts. Imports no torch."""
