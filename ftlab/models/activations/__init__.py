"""What stays frozen below the trained layers: computed once for each view of an image, and kept."""
