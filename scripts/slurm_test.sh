#!/bin/bash
# Translate a large set of images with an array job: sbatch scripts/slurm_test.sh --name …
#
# Every task of the array translates one shard; --array=0-N sets the number of tasks to N + 1. Failed
# tasks, or all tasks, can be run again: finished images are skipped. To run only shards 3 and 5 of 8:
# SHARDS=8 sbatch --array=3,5 scripts/slurm_test.sh …; when all are done, write the page with
# python test.py --name … --page_only. $PYTHON is the interpreter, by default `uv run python`.

#SBATCH --job-name=pix2pix-test
#SBATCH --array=0-7
#SBATCH --gpus-per-task=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --output=%x_%A_%a.log

set -euo pipefail
: "${SLURM_ARRAY_TASK_ID:?is not set; start this script with sbatch scripts/slurm_test.sh}"
# shellcheck disable=SC2086
exec ${PYTHON:-uv run python} test.py --num_shards "${SHARDS:-$SLURM_ARRAY_TASK_COUNT}" \
  --shard_id "$SLURM_ARRAY_TASK_ID" "$@"
