"""Scripts that a person would run instead of ftlab, after public recipes: the same backbone, images and epochs."""
