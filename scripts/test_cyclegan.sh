#!/bin/sh
# The results of train_cyclegan.sh, in both directions.
exec python test.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan "$@"
