"""How good a model is, on which pictures it errs, and how far its probabilities can be believed."""
