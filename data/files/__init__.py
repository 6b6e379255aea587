"""Image files of all kinds and bit depths, read and written without loss."""
