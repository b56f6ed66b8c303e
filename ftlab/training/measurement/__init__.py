"""Measurements by short trainings: how fast this machine trains, and which learning rate suits."""
