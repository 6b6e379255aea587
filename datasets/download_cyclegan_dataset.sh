#!/bin/sh
# Two sets of pictures: horse2zebra, … (--list)
exec python -m scripts.download cyclegan_dataset "$@"
