#!/usr/bin/env python3
"""Makes the models that the tests of the command use:  make_models.py OCTOBERT FOLDER"""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def main():
    octobert, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    tiny = folder / "tiny"
    subprocess.run([sys.executable, ROOT / "scripts/make_random_checkpoint.py", tiny, "--shape", "tiny", "--seed", "7"],
                   check=True)
    ner = ROOT / "models" / "minilm-ner"
    calibrated = ["--calibrate", "builtin", "--samples", "64"]
    for checkpoint, name, *options in [
        (tiny, "tiny", "--scheme", "dynamic"),
        (tiny, "tiny-float", "--scheme", "float"),
        (tiny, "tiny-weight-only", "--scheme", "weight-only"),
        (tiny, "tiny-static", "--scheme", "static", *calibrated),
        (tiny, "tiny-int4", "--weight-bits", "4", *calibrated),
        (tiny, "tiny-codebook", "--weight-bits", "4", "--codebook"),
        (ner, "minilm-ner", "--scheme", "dynamic"),
    ]:
        subprocess.run([octobert, "convert", checkpoint, "-o", folder / f"{name}.octo", "--quiet", *options], check=True)


if __name__ == "__main__":
    main()
