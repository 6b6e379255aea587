#!/bin/sh
# Train colorization: grey -> colour.
exec python train.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization "$@"
