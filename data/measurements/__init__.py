"""Measurements: volumes, rasters and images as grids of numbers with a place, from file to file."""
