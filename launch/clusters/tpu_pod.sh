#!/usr/bin/env bash
# Trains on a Cloud TPU pod slice, through a queued resource:
#
#   export PROJECT=my-project ZONE=us-east5-a
#   launch/clusters/tpu_pod.sh create lpd v5p-512 v2-alpha-tpuv5      # waits in the queue
#   launch/clusters/tpu_pod.sh setup lpd                             # code and packages, all workers
#   launch/clusters/tpu_pod.sh train lpd configs/lpd_xxl.py gs://BUCKET/runs/lpd_xxl
#   launch/clusters/tpu_pod.sh stop lpd                              # SIGTERM: it saves and exits
#   launch/clusters/tpu_pod.sh delete lpd
#
# `train` goes on from the newest checkpoint, so after a preemption: create, setup and train again.
# Options behind the bucket go to launch/train.py. Needs gcloud, logged in.

set -euo pipefail

usage() {
  sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

(($# >= 2)) || usage
: "${PROJECT:?PROJECT: not set, allowed is the name of a Google Cloud project}"
: "${ZONE:?ZONE: not set, allowed is a zone with TPUs}"
action=$1 name=$2
shift 2
where=(--project="$PROJECT" --zone="$ZONE")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

on_all_workers() {
  gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --worker=all --command="$1"
}

case $action in
  create)
    (($# == 2)) || usage
    gcloud compute tpus queued-resources create "$name" "${where[@]}" \
      --node-id="$name" --accelerator-type="$1" --runtime-version="$2" --spot
    ;;
  setup)
    archive=$(mktemp)
    trap 'rm -f "$archive"' EXIT
    git archive --format=tar.gz --output="$archive" HEAD
    gcloud compute tpus tpu-vm scp "$archive" "$name":lpd_jax.tar.gz "${where[@]}" --worker=all
    on_all_workers "mkdir -p lpd_jax && tar -xzf lpd_jax.tar.gz -C lpd_jax && cd lpd_jax &&
      python3 -m venv .venv && .venv/bin/pip install -q -e '.[train]' 'jax[tpu]' gcsfs"
    ;;
  train)
    (($# >= 2)) || usage
    config=$1 workdir=$2
    shift 2
    # nohup: the run outlives this connection. Cloud TPU tells each worker of the others.
    on_all_workers "cd lpd_jax && nohup .venv/bin/python launch/train.py --config=$config \
      --workdir=$workdir $(printf '%q ' "$@") >> train.out 2>&1 & sleep 60; tail -n 5 lpd_jax/train.out"
    ;;
  stop)
    on_all_workers "pkill -TERM -f launch/train.py || true"
    ;;
  delete)
    gcloud compute tpus queued-resources delete "$name" "${where[@]}" --force --quiet
    ;;
  *) usage ;;
esac
