"""Holes to fill: masks in files, random holes, sketches."""
