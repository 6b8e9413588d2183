#!/usr/bin/env bash
# What point 3 of docs/performance.md promises, measured on one GPU in one call of under ten minutes: one table at the end.
#   bash benchmarks/gpu.sh [DIRECTORY]
# Needs an installed corrtool with CUDA; the machine should have 16 cores. Trains from nothing and writes only to DIRECTORY.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-$(mktemp -d)}
mkdir -p "$work"
exec python -m benchmarks.gpu "$work"
