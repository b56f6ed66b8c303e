"""ftlab: a fine-tuning lab for images in the browser."""

__version__ = "0.1.0"
