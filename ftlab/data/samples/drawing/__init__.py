"""A small renderer for the sample sets: surfaces, six toys made of them, grounds, and the scene that lights both."""
