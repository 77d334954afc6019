#!/usr/bin/env bash
# Two machines with four GPUs each, by torchrun. Start it on both, with the number of each and the address of the first:
#
#   MASTER=node-a bash configs/cluster/torchrun.sh 0    # on node-a
#   MASTER=node-a bash configs/cluster/torchrun.sh 1    # on node-b
#
# Both need the same files under faces/, and a folder for the run (--trainer.default_root_dir) that both can read.
set -euo pipefail

torchrun --nnodes 2 --nproc_per_node 4 --node_rank "$1" --master_addr "$MASTER" --master_port 29500 \
  -m emotion_lightning fit \
  --data.root faces/ \
  --data.batch_size 16 \
  --trainer.accelerator gpu \
  --trainer.devices 4 \
  --trainer.num_nodes 2 \
  --trainer.default_root_dir shared/ \
  --trainer.enable_progress_bar false
