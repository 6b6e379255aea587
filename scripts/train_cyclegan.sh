#!/bin/sh
# Train CycleGAN on maps <-> aerial photos, without pairs.
exec python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan "$@"
