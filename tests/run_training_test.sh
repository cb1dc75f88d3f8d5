#!/bin/sh
# run_training_test.sh PYTHON TEST.py: a test of training/, skipped (77) where PyTorch is not installed.
set -eu
if ! "$1" -c 'import torch, transformers, safetensors, tqdm' 2>/dev/null; then
  echo "SKIPPED: $1 has no PyTorch and transformers (training/requirements.txt); set OCTOBERT_TRAINING_PYTHON"
  exit 77
fi
exec "$1" -B "$2" -v
