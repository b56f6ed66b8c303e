"""What a trained model does and does not do: how good it is, what it gets wrong, what is amiss with its pictures."""
