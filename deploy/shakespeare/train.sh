#!/bin/bash
# Trains a small Mixtral on text with a coordinator beside it, and shows what came of it. Started by `make train`, after
# the build. TEXT: a text file (default: the works of Shakespeare), STEPS, RANKS, ALLOCATOR, MPIRUN: see below.
set -euo pipefail
cd "$(dirname "$0")/../.."
# The programs are set up below, and by nothing that the user has for other runs: another coordinator's key, say.
unset "${!MOE_@}"
export MOE_CTL_CONFIG=

steps=${STEPS:-1500}
ranks=${RANKS:-2}
allocator=${ALLOCATOR:-tensor-parallel}
# Ranks share cores when there are more of them than cores; where each runs is the kernel's choice.
read -ra launcher <<<"${MPIRUN:-mpirun --oversubscribe --bind-to none}"
programs=.build/release

fail() {
    echo "train: $*" >&2
    exit 1
}

coordinator=
trainer=
finish() {
    # By id: there may be other runs on this machine.
    [ -z "$trainer" ] || kill -TERM "$trainer" 2>/dev/null || true
    [ -z "$coordinator" ] || kill -TERM "$coordinator" 2>/dev/null || true
    wait
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

start_coordinator() {
    # Before it is read below, whichever of the two comes first.
    : >"$run/coordinator.log"
    "$programs/moe-coordinator" serve --database "$run/moe.db" --listen 127.0.0.1:0 2>"$run/coordinator.log" &
    coordinator=$!
    address=
    for _ in {1..300}; do
        address=$(sed -n 's/^moe-coordinator: listening on //p' "$run/coordinator.log")
        [ -z "$address" ] || break
        if ! kill -0 "$coordinator" 2>/dev/null; then break; fi
        sleep 0.1
    done
    [ -n "$address" ] || fail "the coordinator did not start: $(cat "$run/coordinator.log")"
    export MOE_COORDINATOR=$address
    # Another coordinator may have the usual place; then there is no page.
    page=$(sed -n 's/^moe-coordinator: dashboard and health on //p' "$run/coordinator.log")
}

stop_coordinator() {
    kill -TERM "$coordinator"
    wait "$coordinator" || fail "the coordinator ended with an error: $(tail -n 1 "$run/coordinator.log")"
    coordinator=
}

if [ -n "${TEXT:-}" ]; then
    [ -f "$TEXT" ] || fail "there is no file $TEXT"
    texts=("$TEXT")
else
    sh deploy/shakespeare/fetch.sh data/shakespeare
    texts=(data/shakespeare/*.txt)
fi

mkdir -p runs
name=$(date +%Y-%m-%d-%H%M%S)
run=runs/$name
mkdir "$run" 2>/dev/null || fail "$run is there already; start again"
echo "preparing ${#texts[@]} text$([ ${#texts[@]} -eq 1 ] || echo s) in $run"
"$programs/moe-ctl" data prepare "${texts[@]}" --output "$run/data" --tokenizer bytes

start_coordinator
echo
echo "training with $ranks ranks; the coordinator listens on $address"
[ -z "$page" ] || echo "watch it at $page/, or with: $programs/moe-ctl watch --coordinator $address"
# In a session of its own, for Ctrl-C goes to all processes of this one: on a second signal, from `finish`, mpirun would
# leave at once, without waiting for its ranks.
setsid "${launcher[@]}" -n "$ranks" "$programs/moe-worker" \
    --run "$name" --coordinator "$address" --allocator "$allocator" \
    --data "$run/data" --model-config deploy/shakespeare/config.json \
    --steps "$steps" --batch-size 16 --sequence-length 128 \
    --learning-rate 2e-3 --learning-rate-schedule cosine --minimum-learning-rate 2e-4 --warmup-steps 100 \
    --beta2 0.99 --weight-decay 0.1 --evaluation-interval 500 --evaluation-batches 40 --log-interval 100 \
    --metrics "$run/metrics.jsonl" --checkpoint-directory "$run/checkpoints" </dev/null &
trainer=$!
wait "$trainer" || fail "training ended with an error; see above"
trainer=

echo
echo "runs (moe-ctl run list)"
"$programs/moe-ctl" run list
echo
echo "placement (moe-ctl placement show --run $name)"
"$programs/moe-ctl" placement show --run "$name"
stop_coordinator

checkpoint=$run/checkpoints/step-$steps
echo
echo "text from the model (moe-worker generate --model $checkpoint)"
"$programs/moe-worker" generate --model "$checkpoint" --length 600
cat <<END

where to look next
  $checkpoint: the model; transformers loads it, too
  $run/metrics.jsonl: a line of numbers for each step
  $programs/moe-coordinator serve --database $run/moe.db: shows this run again, in the browser and to moe-ctl
  $programs/moe-worker generate --help: other prompts, lengths and temperatures
  README.md: how to run it on your own data and ranks
END
