#!/bin/sh
# A CycleGAN generator: horse2zebra, … (--list)
exec python -m scripts.download cyclegan_model "$@"
