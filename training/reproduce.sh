#!/bin/bash
# Quantization-aware training of the bundled model: trains, converts, measures.
#
#     training/reproduce.sh static|int4 OUTPUT_DIR PYTHON OCTOBERT CHECKPOINT TRAIN.tsv TEST.tsv...
#
# PYTHON has training/requirements.txt; TEST.tsv are the sets to measure on, which are not trained on. Writes the trained
# checkpoint to OUTPUT_DIR, OUTPUT_DIR.octo, and its figures to OUTPUT_DIR.json. Every tenth sentence of TRAIN.tsv is held
# out, to choose by: train.py prints its figures. Run again, it goes on from the last state that was saved.
# Environment: STEPS, THREADS (2), OPTIONS (added to train.py's).
set -eu

if [ $# -lt 7 ]; then
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
scheme=$1 output=$2 python=$3 octobert=$4 checkpoint=$5 train=$6
shift 6

case $scheme in
  static) options=(--scheme static --scale-learning-rate 2e-3) convert=(--scheme static) ;;
  int4) options=(--scheme int4) convert=(--scheme weight-only --weight-bits 4 --group-size 32) ;;
  *) echo "scheme '$scheme': expected static or int4" >&2; exit 2 ;;
esac
[ -e "$output/training_state.pt" ] && options+=(--resume)

# A fifth of the loss is from labels: they decide where the float model is not sure. Threads that wait must not take the
# cores of those that compute, and memory that was freed is kept for the next step.
here=$(dirname "$0")
OMP_WAIT_POLICY=PASSIVE MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 \
  "$python" "$here/train.py" "$checkpoint" --train "$train" -o "$output" "${options[@]}" \
  --hold-out 10 --distill 0.8 --distill-layers 1 --ema 0.98 --freeze-embeddings --learning-rate 5e-5 \
  --max-steps "${STEPS:-500}" --batch-size 32 --save-every 50 --seed 1 --threads "${THREADS:-2}" ${OPTIONS:-}

"$octobert" convert "$output" -o "$output.octo" "${convert[@]}" --no-check --quiet
sets=()
for file in "$@"; do sets+=(--conll "$file"); done
"$octobert" verify "$output.octo" --against "$checkpoint" "${sets[@]}" --quiet --json > "$output.json"
"$python" "$here/figures.py" "$output.json"
