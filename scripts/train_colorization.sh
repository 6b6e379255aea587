#!/bin/sh
# Grey -> colour.
exec python train.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization "$@"
