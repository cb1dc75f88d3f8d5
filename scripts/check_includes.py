#!/usr/bin/env python3
"""Who may include whom (docs/ARCHITECTURE.md), checked from the #include lines. Prints what breaks a rule; exit 1."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folder -> folders of ours that it may include.
RUNTIME = {"include", "kernels", "tokenizer", "engine"}
ALLOWED = {
    "include": {"include"},
    "kernels": {"kernels"},
    "tokenizer": {"tokenizer", "include"},
    "engine": RUNTIME,
    "converter": RUNTIME | {"converter"},
    "apps": RUNTIME | {"converter", "apps"},
    "examples": {"include"},
    "tests": RUNTIME | {"converter", "apps", "tests"},
    "bench": RUNTIME | {"converter", "apps", "tests", "bench"},
}
# Libraries of others -> folders that may use them.
LIBRARIES = {
    r"nlohmann/": {"converter", "apps", "tests", "bench"},
    r"fmt/": {"converter", "apps", "tests", "bench"},
    r"openssl/": {"converter"},
    r"CLI/": {"apps"},
    r"xxhash\.h": {"engine", "converter"},
    r"gtest/|gmock/": {"tests"},
    r"benchmark/": {"bench"},
}
# What the library never does: print, read the environment, change the locale, end the process.
FORBIDDEN_IN_LIBRARY = re.compile(
    r"#include\s*<(iostream|locale|clocale)>|\b(getenv|setlocale|printf|fprintf|puts|abort|exit)\s*\(")
LIBRARY = {"include", "kernels", "tokenizer", "engine"}


def folder_of(include: str) -> str:
    return "include" if include.startswith("octobert/") else include.split("/")[0]


def check(path: pathlib.Path) -> list[str]:
    folder = path.relative_to(ROOT).parts[0]
    problems = []
    in_comment = re.compile(r"//.*")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path.relative_to(ROOT)}:{number}"
        own = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
        if own and "/" in own[1] and folder_of(own[1]) not in ALLOWED[folder]:
            problems.append(f"{where}: {folder}/ may not include {own[1]}")
        if own and not (ROOT / own[1]).exists() and not (ROOT / "include" / own[1]).exists():
            problems.append(f"{where}: {own[1]}: includes are written from the top of the tree; there is no such file")
        other = re.match(r"\s*#\s*include\s*<([^>]+)>", line)
        for pattern, folders in LIBRARIES.items():
            if other and re.match(pattern, other[1]) and folder not in folders:
                problems.append(f"{where}: {folder}/ may not include <{other[1]}>")
        if folder in LIBRARY and FORBIDDEN_IN_LIBRARY.search(in_comment.sub("", line)):
            problems.append(f"{where}: not in the library: {line.strip()}")
    return problems


def main() -> int:
    problems, count = [], 0
    for folder in ALLOWED:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".h", ".cpp"):
                count += 1
                problems += check(path)
    print("\n".join(problems) or f"{count} files, every include as docs/ARCHITECTURE.md has it")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
