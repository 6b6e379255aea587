#!/bin/sh
# Download paired images: facades, maps, … (--list)
exec python -m scripts.download pix2pix_dataset "$@"
