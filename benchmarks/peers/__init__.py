"""What a person would run instead of ftlab, written after public recipes: the same backbone, pictures and epochs."""
