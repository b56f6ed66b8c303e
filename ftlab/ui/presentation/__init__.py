"""The page for the back of a room: a larger size of everything, and one part of it on the full screen."""
