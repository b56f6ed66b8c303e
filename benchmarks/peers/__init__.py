"""What a person would run instead of ftlab, written after public recipes: the same backbone, images and epochs."""
