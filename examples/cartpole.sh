#!/usr/bin/env bash
# CartPole → CartPole with permuted and sign-flipped observations: the method on vector states, in
# minutes.
# Usage: examples/cartpole.sh [DIR] [SEED]
set -euo pipefail
lab=${1:-$(mktemp -d)/cartpole}
export CORRTOOL_SEED=${2:-0}

corrtool init "$lab" --source CartPole-v1 --target CartPole-v1 \
    --target-view permute:2,3,0,1 --target-view scale:-1,1,-1,1
export CORRTOOL_PROJECT=$lab

corrtool train-dqn
corrtool collect
corrtool train-model
corrtool learn-corr

echo "--- the source agent on its own task, then three ways to play the target ---"
corrtool evaluate --task source
corrtool evaluate --policy random
corrtool evaluate --no-corr
corrtool evaluate
