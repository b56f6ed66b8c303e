"""An exported model in a process of its own, which knows nothing of ftlab but the lines that load it."""
