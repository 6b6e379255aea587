"""Image files of all kinds and bit depths, read without loss."""
