#!/bin/sh
# Download two sets of images: horse2zebra, … (--list)
exec python -m scripts.download cyclegan_dataset "$@"
