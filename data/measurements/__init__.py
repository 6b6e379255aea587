"""Files of measurements: volumes, rasters and images as grids of numbers with a place."""
