#!/bin/sh
# The results of train_colorization.sh.
exec python test.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization "$@"
