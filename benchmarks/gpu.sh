#!/usr/bin/env bash
# What docs/performance.md promises of a GPU, measured on one in one call of under ten minutes: one table at the end.
#   bash benchmarks/gpu.sh [DIRECTORY]
# Needs an installed corrtool with CUDA; the machine should have 16 cores. Trains from nothing and writes only to DIRECTORY.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python -m benchmarks.gpu "$@"
