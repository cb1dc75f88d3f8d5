#!/usr/bin/env python3
"""Digests of the test models and of their logits on every instruction set that is here:

    OCTOBERT_BIN=… OCTOBERT_TEST_MODELS=… tests/cli/make_digests.py > tests/cli/digests.json

for a change of the arithmetic or of the packed bytes that is meant (CONTRIBUTING.md). tokens_test.py compares.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from common import MODELS, OCTOBERT, TINY_CHECKPOINT, environment, sha256

TEXTS = ["Angela Merkel met Tim Cook.", "", "x " * 300, "Zürich 日本 [SEP] 😀", "a b c d e f g h i j k"]
NAMES = ("tiny", "tiny-weight-only", "tiny-float", "tiny-static", "tiny-int4", "tiny-codebook", "minilm-ner")


def run(*arguments, **changes):
    return subprocess.run([OCTOBERT, *map(str, arguments)], input="\n".join(TEXTS).encode(), stdout=subprocess.PIPE,
                          env=environment(**changes), check=True).stdout


def digests():
    """The digests; "model logits" is a list with one entry, or more if instruction sets or thread counts differ."""
    isas = [isa["name"] for isa in json.loads(run("info", "--json"))["compiled"] if isa["available"]]
    found = {"tiny checkpoint": sha256(TINY_CHECKPOINT / "model.safetensors")}
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out.safetensors"
        for name in NAMES:
            found[f"{name} file"] = sha256(MODELS / f"{name}.octo")
            logits = set()
            for isa in isas:
                for threads in (1, 3):
                    run("logits", MODELS / f"{name}.octo", "-o", out, "--threads", threads, OCTOBERT_ISA=isa)
                    logits.add(sha256(out))
            found[f"{name} logits"] = sorted(logits)
    return found


if __name__ == "__main__":
    json.dump(digests(), sys.stdout, indent=2)
    print()
