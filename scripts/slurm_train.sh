#!/bin/bash
# Train on several machines: sbatch scripts/slurm_train.sh --dataroot … --name … --batch_size 8
#
# Set the lines below to your cluster's. --batch_size counts the images of all GPUs together. A
# job that Slurm stops saves first. One that Slurm starts again (preemption, a node that failed) goes
# on by itself; after the time limit, submit the same line with --continue_train.
# $TORCHRUN starts the processes of a machine: by default `uv run torchrun`.

#SBATCH --job-name=pix2pix
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --open-mode=append
#SBATCH --output=%x_%j.log

set -euo pipefail
: "${SLURM_JOB_NODELIST:?is set by Slurm: sbatch scripts/slurm_train.sh starts this}"

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1  # meet again after a restart, whoever is there
port=$((29500 + SLURM_JOB_ID % 1000))
# One agent a machine; it starts a process for each GPU, and all again (at most 3 times) if one ends
# with an error, a mistake in the flags included.
# shellcheck disable=SC2086
exec srun ${TORCHRUN:-uv run torchrun} \
  --nnodes="$SLURM_NNODES" --nproc_per_node="${SLURM_GPUS_ON_NODE:-1}" \
  --rdzv_backend=c10d --rdzv_endpoint="$first:$port" --rdzv_id="$SLURM_JOB_ID" \
  --max_restarts=3 train.py "$@"
