#!/bin/sh
# Translate the test images with the model of train_pix2pix.sh.
exec python test.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA "$@"
