#!/bin/sh
# Translate the test images with the model of train_colorization.sh.
exec python test.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization "$@"
