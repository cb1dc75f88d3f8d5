#!/usr/bin/env python3
"""Inner loops of the ARM kernels through llvm-mca: how near they come to what the core can issue.

usage: mca_loops.py LLVM_MCA NAME=FILE.s...     (scripts/arm_mca.sh compiles the files and calls this)

For each kernel's tallest tile, per iteration of its loop: products (sdot, smmla, fmla, or the smull chain), cycles in the
steady state, the cycles that the products alone would take, and those that the whole loop must take by the busiest pipe
or by dispatch width (llvm-mca's "Block RThroughput").
"""

import json
import re
import subprocess
import sys

PRODUCTS = r"(sdot|smmla|fmla|smull2?|smlal2?|sadalp)\b"

# Which tiles, by unit: what the mangled name holds; the CPUs to ask about; products a cycle (software optimisation guides:
# N1 has 2 SIMD pipes, V2 has 4; A72 multiplies on one of its two and sadalp goes to the other).
TILES = [
    ("neon_dotprod", "lane_tile.*DotS8.*Li6ELb1", "sdot, 6 rows", {"neoverse-n1": 2, "neoverse-v2": 4}),
    ("neon_i8mm", "MatmulS8ILb1.*tileILi6E", "smmla, 6 rows, weights zipped before", {"neoverse-v2": 4}),
    ("neon_i8mm", "MatmulS8ILb0.*tileILi6E.*Lb1", "smmla, 6 rows, zipped in the loop", {"neoverse-v2": 4}),
    ("neon_dotprod", "lane_tile.*FmaF32.*Li6ELb1", "fmla, 6 rows", {"neoverse-n1": 2, "neoverse-v2": 4}),
    ("neon", "DotS8.*tileILi2E.*Lb1", "smull chain, 2 rows", {"cortex-a72": 1.5}),
]


def functions(path):
    """name -> lines, of an assembly file by g++ or clang."""
    name, found = None, {}
    for raw in open(path):
        line = raw.split("//")[0].rstrip()
        label = re.match(r"([A-Za-z_$][\w$.]*):", line)
        if label and not label.group(1).startswith(".L"):
            name = label.group(1)
            found[name] = []
        elif name and line.strip() and not line.startswith("#"):
            found[name].append(line.strip())
    return found


def longest_product_loop(lines):
    """Instructions of the loop with the most products."""
    labels = {line[:-1]: i for i, line in enumerate(lines) if re.fullmatch(r"\.\w+:", line)}
    best = []
    for i, line in enumerate(lines):
        jump = re.match(r"(?:b\.?\w+|cbn?z|tbn?z)\s+(?:[wx]\d+, )?(?:#?\d+, )?(\.\w+)$", line)
        if not jump or labels.get(jump.group(1), i) >= i:
            continue
        body = [l for l in lines[labels[jump.group(1)] : i + 1] if not l.startswith(".")]
        if "ret" not in body and count_products(body) > count_products(best):
            best = body
    return best


def count_products(body):
    return sum(bool(re.match(PRODUCTS, line)) for line in body)


def mca(tool, cpu, body):
    """(cycles an iteration in the steady state, Block RThroughput)"""
    # The branch back: its target means nothing to llvm-mca.
    text = "\n".join(re.sub(r"\.L\w+$", "loop", line) for line in body)
    def run(iterations):
        # As JSON: its text has Block RThroughput to one place only, which made shares above 100 %.
        command = [tool, "-mtriple=aarch64-linux-gnu", f"-mcpu={cpu}", "-mattr=+dotprod,+i8mm",
                   f"-iterations={iterations}", "--json"]
        out = subprocess.run(command, input="loop:\n" + text, capture_output=True, text=True, check=True).stdout
        return json.loads(out)["CodeRegions"][0]["SummaryView"]
    short, long = run(100), run(300)
    return (long["TotalCycles"] - short["TotalCycles"]) / 200, long["BlockRThroughput"]


def main():
    tool, *files = sys.argv[1:]
    worst = 1.0
    print(f"{'kernel':<38}{'compiler':<10}{'CPU':<13}{'products':>8}{'instr.':>8}{'cycles':>8}{'limit':>8}{'of limit':>9}{'of products alone':>19}")
    for unit, pattern, title, cpus in TILES:
        for argument in files:
            name, path = argument.split("=")
            file_unit, compiler = name.split(":")
            if file_unit != unit:
                continue
            bodies = [longest_product_loop(lines) for symbol, lines in functions(path).items() if re.search(pattern, symbol)]
            bodies = [b for b in bodies if b]
            if not bodies:
                sys.exit(f"{path}: no loop in a function like {pattern}")
            body = max(bodies, key=count_products)
            for cpu, rate in cpus.items():
                cycles, limit = mca(tool, cpu, body)
                products = count_products(body)
                worst = min(worst, limit / cycles)
                print(f"{title:<38}{compiler:<10}{cpu:<13}{products:>8}{len(body):>8}{cycles:>8.2f}{limit:>8.2f}"
                      f"{limit / cycles:>9.1%}{products / rate / cycles:>19.1%}")
    print(f"\nlowest share of the issue limit: {worst:.1%}")
    return 0 if worst >= 0.9 else 1


if __name__ == "__main__":
    sys.exit(main())
