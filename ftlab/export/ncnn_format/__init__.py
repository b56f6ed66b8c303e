"""ncnn: a network for phones and small computers, converted by pnnx."""
