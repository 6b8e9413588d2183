#!/usr/bin/env bash
# Every stage on real Pong at the smallest size, as a script would run them: under two minutes on
# two cores.
# Usage: examples/smoke.sh [DIR]
set -euo pipefail
lab=${1:-$(mktemp -d)/lab}

# games end after 150 steps, so that no stage waits for a whole one
corrtool init "$lab" --source ALE/Pong-v5 --target ALE/Pong-v5 --target-view rotate:90 --max-episode-frames 600
export CORRTOOL_PROJECT=$lab CORRTOOL_PRESET=tiny

corrtool train-dqn                  # Q_S and M_S: learn the source task
corrtool collect                    # M_T: random play on the target task
corrtool train-model                # F: the source task's environment model
corrtool learn-corr --lambda-q 1    # G_T and G_S: the correspondence function
corrtool evaluate --json            # Q_S(G_T(s)) plays fresh games of the target task
corrtool finetune                   # go on learning on the target task
corrtool verify
