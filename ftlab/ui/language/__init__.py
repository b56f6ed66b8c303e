"""The page in several languages: its layout in that of the visitor, and the switch in its header."""
