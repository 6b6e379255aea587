"""Checks of the data before a training."""
