#!/usr/bin/env bash
# Trains on a Cloud TPU pod slice, through a queued resource:
#
#   export PROJECT=my-project ZONE=us-east5-a
#   launch/clusters/tpu_pod.sh create lpd v5p-512 v2-alpha-tpuv5      # waits in the queue
#   launch/clusters/tpu_pod.sh setup lpd                             # Python, code, packages
#   launch/clusters/tpu_pod.sh data lpd gs://BUCKET/imagenet256_tokens data/imagenet256_tokens
#   launch/clusters/tpu_pod.sh data lpd gs://BUCKET/vq16 models/vq16
#   launch/clusters/tpu_pod.sh train lpd configs/lpd_xxl.py gs://BUCKET/runs/lpd_xxl
#   launch/clusters/tpu_pod.sh stop lpd                              # SIGTERM: it saves and exits
#   launch/clusters/tpu_pod.sh delete lpd
#
# `train` goes on from the newest checkpoint, so after a preemption: create, setup, data and train
# again. Options behind the bucket go to launch/train.py. `data` copies a folder of a bucket to the
# disk of every worker; a tokenizer may also stay in the bucket. What is compiled is kept beside the
# run, in gs://BUCKET/runs/compiled, so that a restart does not compile. Needs gcloud, logged in.

set -euo pipefail

usage() {
  sed -n '2,18s/^# \{0,1\}//p' "$0" >&2
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
    # The images of TPU machines have Python 3.10, which is too old: uv brings one of its own.
    on_all_workers "mkdir -p lpd_jax && tar -xzf lpd_jax.tar.gz -C lpd_jax && cd lpd_jax &&
      python3 -m pip install -q --user uv && python3 -m uv venv -q --python 3.12 .venv &&
      python3 -m uv pip install -q --python .venv -e '.[train]' 'jax[tpu]' gcsfs"
    ;;
  data)
    (($# == 2)) || usage
    on_all_workers "mkdir -p 'lpd_jax/$2' && gcloud storage rsync --recursive '$1' 'lpd_jax/$2'"
    ;;
  train)
    (($# >= 2)) || usage
    config=$1 workdir=$2
    shift 2
    # nohup: the run outlives this connection. Cloud TPU tells each worker of the others.
    on_all_workers "cd lpd_jax && export JAX_COMPILATION_CACHE_DIR='${workdir%/*}/compiled' &&
      nohup .venv/bin/python launch/train.py --config=$config \
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
