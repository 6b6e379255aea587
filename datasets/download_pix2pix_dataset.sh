#!/bin/sh
# Paired pictures: facades, maps, … (--list)
exec python -m scripts.download pix2pix_dataset "$@"
