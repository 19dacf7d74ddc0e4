#!/usr/bin/env bash
# Trains with several processes, one for each GPU, or on CPUs where there is none:
#   tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
# On several machines, start it on each with NNODES, MASTER_ADDR, PORT and its own NODE_RANK set.
set -euo pipefail

refuse() {
    echo "error: $1" >&2
    exit 2
}

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [options of tools/train.py]" >&2
    exit 2
fi
config=$1 processes=$2
shift 2
[[ $processes =~ ^[1-9][0-9]*$ ]] ||
    refuse "invalid number of processes '$processes': expected 1 or more, one for each GPU."
if [ ! -f "$config" ]; then # the name of a shipped one?
    config=$(python -c 'import sys, mmdino.shipped as s; print(s.config_path(sys.argv[1]))' \
        "$config" 2>/dev/null || echo "$config")
fi
[ -f "$config" ] || refuse "The config '$config' does not exist. Name a file, or a shipped config \
such as dino_demo."

# Without a port, torchrun finds a free one for the processes of this machine.
meeting=(--standalone --local_addr 127.0.0.1)
if [ -n "${NNODES:-}${NODE_RANK:-}${MASTER_ADDR:-}${PORT:-}" ]; then
    meeting=(
        --nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}"
        --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${PORT:-29500}"
    )
fi
folder=$(dirname "$0")
exec python "$folder/launch_ranks.py" "${meeting[@]}" --nproc_per_node "$processes" \
    "$folder/train.py" "$config" --launcher pytorch "$@"
