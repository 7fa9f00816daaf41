#!/bin/bash
# Training on two nodes with four GPUs each; --cluster is for pixels, not for training: sbatch torchrun.sh
#SBATCH --job-name=wsisr-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
set -eu
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# srun takes the number of cores from its own option alone since Slurm 22.05.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" torchrun --nnodes="$SLURM_NNODES" --nproc-per-node=4 \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$head:29500" \
    -m wsisr train recipe.toml -o runs/one
