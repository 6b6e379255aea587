#!/bin/sh
# Paired images: facades, maps, … (--list)
exec python -m scripts.download pix2pix_dataset "$@"
