"""Prediction with a trained model: class probabilities, class activation maps, and how far to believe either."""
