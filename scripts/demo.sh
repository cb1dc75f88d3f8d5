#!/usr/bin/env bash
# Builds octobert, converts the bundled checkpoint, and prints the entities of real text:
#   scripts/demo.sh ["some text" ...]
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
scripts/setup.sh --build

heading "building build/bin/octobert"
if [[ ! -f build/CMakeCache.txt ]]; then # a folder that is there keeps its settings
  run_quietly "cmake" cmake -S . -B build "${CMAKE_ARGUMENTS[@]}" -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_COMPILER=$GXX"
fi
cmake --build build -j "$JOBS" --target octobert_cli | tail -n 1
octobert=build/bin/octobert
mkdir -p build/demo
model=build/demo/minilm-ner.octo

heading "octobert convert models/minilm-ner -o $model"
"$octobert" convert models/minilm-ner -o "$model"

texts=("$@")
if ((${#texts[@]} == 0)); then
  texts=(
    "Angela Merkel met Tim Cook at Apple's headquarters in Cupertino, California, before flying to Berlin."
    "The European Central Bank raised rates on Thursday, said Christine Lagarde in Frankfurt."
    "Marie Curie was born in Warsaw and won the Nobel Prize in Physics in 1903."
    "Tonight at Wembley: Arsenal against Real Madrid, with Bukayo Saka back in the team."
    "The Amazon flows through Brazil, Peru and Colombia; Amazon has its offices in Seattle."
  )
fi
heading "octobert run $model TEXT ..."
begin=$EPOCHREALTIME
"$octobert" run "$model" -- "${texts[@]}"
end=$EPOCHREALTIME
# Microseconds: the decimal mark of EPOCHREALTIME is the locale's.
printf '\n%d texts in %d ms, from the start of the process to its end.\n' ${#texts[@]} \
  $(((${end//[!0-9]/} - ${begin//[!0-9]/}) / 1000))
"$octobert" bench "$model" --shapes 1x16,1x27,1x128 --seconds 0.5

heading "8 bits against float, on 500 sentences that neither was trained or tuned on"
awk 'NF == 0 && ++n == 500 { print; exit } { print }' data/ner/E2.tsv > build/demo/sentences.tsv
"$octobert" verify "$model" --against models/minilm-ner --conll build/demo/sentences.tsv --quiet | sed -n '/signal-to/q;p'
