"""Export: a trained model as files that other programs run, each checked against the model that it was made of."""
