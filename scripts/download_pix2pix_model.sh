#!/bin/sh
# Download a pix2pix generator: facades_label2photo, … (--list)
exec python -m scripts.download pix2pix_model "$@"
