"""Code shared by several commands: flags derived from the configuration, and a training in this process."""
