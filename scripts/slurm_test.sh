#!/bin/bash
# Translate very many images with an array job: sbatch scripts/slurm_test.sh --name …
#
# Every task of the array does its share; --array=0-N chooses how many there are. A task that failed
# can be run again, and so can all: what is done is skipped. To run some of eight alone:
# SHARDS=8 sbatch --array=3,5 scripts/slurm_test.sh …; when all are done, make the page:
# python test.py --name … --page_only. $PYTHON runs a script: by default `uv run python`.

#SBATCH --job-name=pix2pix-test
#SBATCH --array=0-7
#SBATCH --gpus-per-task=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --output=%x_%A_%a.log

set -euo pipefail
: "${SLURM_ARRAY_TASK_ID:?is set by Slurm: sbatch scripts/slurm_test.sh starts this}"
# shellcheck disable=SC2086
exec ${PYTHON:-uv run python} test.py --num_shards "${SHARDS:-$SLURM_ARRAY_TASK_COUNT}" \
  --shard_id "$SLURM_ARRAY_TASK_ID" "$@"
