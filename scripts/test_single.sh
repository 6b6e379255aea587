#!/bin/sh
# Translate a folder of label maps without photos with the generator of train_pix2pix.sh.
exec python test.py --dataroot ./datasets/facades/testB --name facades_pix2pix --model test "$@"
