"""What several commands share: flags made from the configuration, and a training in this process."""
