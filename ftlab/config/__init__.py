"""Configuration of a training, and the tables that it refers to: backbones and recipes. Imports no torch."""
