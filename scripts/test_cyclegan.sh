#!/bin/sh
# Translate the test images in both directions with the model of train_cyclegan.sh.
exec python test.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan "$@"
