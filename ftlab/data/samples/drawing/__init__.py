"""A small renderer for the sample sets: surfaces, six toys made of them, backgrounds, and the scene that is lit."""
