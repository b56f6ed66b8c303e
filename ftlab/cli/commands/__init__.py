"""What each command does. Its result goes to standard output, a table for people or JSON lines for programs."""
