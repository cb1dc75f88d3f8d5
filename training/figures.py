#!/usr/bin/env python3
"""Rows of a table from what `octobert verify --json` wrote."""

import json
import pathlib
import sys

for path in sys.argv[1:]:
    for file in json.loads(pathlib.Path(path).read_text(encoding="utf-8"))["files"]:
        paired = file["paired"]
        print(f"| {pathlib.Path(path).stem} | {pathlib.Path(file['file']).stem} | {100 * file['float']['f1']:.2f} | "
              f"{100 * file['model']['f1']:.2f} | {100 * file['agreement']:.3f} % | {paired['lost']} lost, "
              f"{paired['gained']} gained | {paired['mcnemar_p']:.3f} |")
