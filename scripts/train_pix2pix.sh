#!/bin/sh
# Train pix2pix on the facades: labels -> photos.
exec python train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA "$@"
