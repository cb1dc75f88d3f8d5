#!/bin/bash
# Quantization-aware training of the bundled model: trains, converts, measures.
#
#     training/reproduce.sh static|int4 OUTPUT_DIR PYTHON OCTOBERT CHECKPOINT TRAIN.tsv TEST.tsv...
#
# PYTHON has training/requirements.txt; TEST.tsv are the sets to measure on, which are not trained on. Writes the trained
# checkpoint to OUTPUT_DIR, OUTPUT_DIR.octo, and its figures to OUTPUT_DIR.json. For static, every tenth sentence of
# TRAIN.tsv is held out, and figures on these printed: options were chosen by such. Run again, it goes on from the last
# state that was saved. Environment: STEPS (400), THREADS (1; more are faster, and round differently), OPTIONS (added to
# train.py's).
set -eu

if [ $# -lt 7 ]; then
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
scheme=$1 output=$2 python=$3 octobert=$4 checkpoint=$5 train=$6
shift 6

case $scheme in
  static)
    options=(--scheme static --scale-learning-rate 2e-3 --distill 0.6 --ema 0.98 --hold-out 10)
    convert=(--scheme static)
    ;;
  int4)
    options=(--scheme int4 --distill 0.5)
    convert=(--scheme weight-only --weight-bits 4 --group-size 32)
    ;;
  *) echo "scheme '$scheme': expected static or int4" >&2; exit 2 ;;
esac
[ -e "$output/training_state.pt" ] && options+=(--resume)

# About half of the loss is from labels: they decide where the float model is not sure. Threads that wait must not take
# the cores of those that compute, and memory that was freed is kept for the next step.
here=$(dirname "$0")
OMP_WAIT_POLICY=PASSIVE MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 \
  "$python" "$here/train.py" "$checkpoint" --train "$train" -o "$output" "${options[@]}" \
  --distill-layers 1 --freeze-embeddings --learning-rate 5e-5 --max-steps "${STEPS:-400}" --batch-size 32 \
  --save-every 50 --seed 1 --threads "${THREADS:-1}" ${OPTIONS:-}

"$octobert" convert "$output" -o "$output.octo" "${convert[@]}" --no-check --quiet
sets=()
for file in "$@"; do sets+=(--conll "$file"); done
"$octobert" verify "$output.octo" --against "$checkpoint" "${sets[@]}" --quiet --json > "$output.json"
"$python" "$here/figures.py" "$output.json"
