"""Lists of images and labels (manifests): find them in a data set, parse them, resolve their paths."""
