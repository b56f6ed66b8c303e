"""Core ML: a classifier of images for Apple's devices, made on any system and run on none but Apple's."""
