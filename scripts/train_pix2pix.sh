#!/bin/sh
# Labels -> photos on the facades.
exec python train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA "$@"
