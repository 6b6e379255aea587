#!/bin/bash
# Train on several machines: sbatch scripts/slurm_train.sh --dataroot … --name … --batch_size 8
#
# Adapt the #SBATCH lines to your cluster. --batch_size counts the images of all GPUs together. When
# Slurm stops the job, it saves a checkpoint first. When Slurm restarts it (preemption, failed node),
# it resumes by itself; after the time limit, submit the same line with --continue_train.
# $TORCHRUN starts the processes of a machine, by default `uv run torchrun`.

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
: "${SLURM_JOB_NODELIST:?is not set; start this script with sbatch scripts/slurm_train.sh}"

nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST") # a line each
first=${nodes%%$'\n'*}
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1  # any node may host the new rendezvous after a restart
port=$((29500 + SLURM_JOB_ID % 1000))
# One agent per machine starts a process for each GPU. If one fails, even because of a wrong flag, it
# restarts all of them, at most 3 times.
# shellcheck disable=SC2086
exec srun ${TORCHRUN:-uv run torchrun} \
  --nnodes="$SLURM_NNODES" --nproc_per_node="${SLURM_GPUS_ON_NODE:-1}" \
  --rdzv_backend=c10d --rdzv_endpoint="$first:$port" --rdzv_id="$SLURM_JOB_ID" \
  --max_restarts=3 train.py "$@"
