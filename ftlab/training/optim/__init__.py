"""Optimizers, learning rate schedules, losses, mixup and moving averages of the weights."""
