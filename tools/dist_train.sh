#!/usr/bin/env bash
# Train on several GPUs: dist_train.sh CONFIG GPUS [options of train.py]
# On several machines, on each: NNODES=2 NODE_RANK=0 MASTER_ADDR=HOST PORT=29500 dist_train.sh CONFIG GPUS
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG GPUS [options of train.py]" >&2
    exit 2
fi
config=$1
gpus=$2
shift 2

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$gpus" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
