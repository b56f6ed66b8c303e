"""The panel in which all settings of a training are laid out and searched."""
