#!/bin/sh
# Download a CycleGAN generator: horse2zebra, … (--list)
exec python -m scripts.download cyclegan_model "$@"
