"""What the pages of a class show besides the tabs."""
