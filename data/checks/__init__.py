"""Checks of the data that a training or a test is about to read."""
