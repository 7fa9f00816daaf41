#!/bin/bash
# Whole slides divided among the jobs of an array, without Dask: sbatch slurm-array.sh
# The same command again does what is left: finished slides are skipped, an unfinished one goes on where it was.
#SBATCH --job-name=wsisr
#SBATCH --array=1-20
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH --time=08:00:00
# B: sends it to this script, which becomes wsisr; without it Slurm signals the steps of srun alone.
#SBATCH --signal=B:TERM@120
#SBATCH --output=wsisr-%A-%a.log
set -eu
mkdir -p results
exec wsisr upscale slides --scale 2 -o results \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
    --report "results/run.$SLURM_ARRAY_TASK_ID.json"
