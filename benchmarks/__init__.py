"""What is measured, not asserted: `python -m benchmarks.<name>` prints a table in Markdown."""
