#!/usr/bin/env python3
"""Inner loops of the ARM kernels beside what the cores can issue: by llvm-mca's models, and by published widths.

usage: mca_loops.py LLVM_MCA NAME=FILE.s...     (scripts/arm_mca.sh compiles the files and calls this)

For each kernel's tallest tile, per iteration of its loop: products (sdot, smmla, fmla, or the smull chain), cycles in the
steady state, the cycles that the products alone would take, and those that the whole loop must take by the busiest pipe
or by dispatch width (llvm-mca's "Block RThroughput").

Then the cores that LLVM models by others (Cortex-A76 and A72 by A57, Apple M1 by Cyclone), by their published widths: the
cycles that an iteration must take by products, by all of SIMD, by decode and by loads; the bound is the most of these.
"""

import json
import re
import subprocess
import sys
from typing import NamedTuple

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


class Core(NamedTuple):
    """Widths of a core, each a cycle."""

    decode: int  # instructions decoded, renamed or dispatched: the least of these
    simd: int  # SIMD instructions
    loads: int  # 128 bits each
    products: dict  # by a pattern of mnemonics, where not every SIMD pipe does them


# Sources, and which figures of them were seen, are in docs/PERFORMANCE.md, "ARM".
#   Cortex-A76: Arm Cortex-A76 Software Optimization Guide (PJDOC-466751330-7215), 2.1 and 4.1: 4 macro-operations (8
#     micro-operations) a cycle, pipes V0 and V1, both of them for sdot, L0 and L1.
#   Apple M1 (Firestorm): Dougall Johnson's tables, dougallj.github.io/applecpu/firestorm.html and firestorm-simd.html: 8
#     micro-operations a cycle, SIMD units 11 to 14, sdot at 0.25 cycles on any of them, loads on units 8 to 10.
#   Cortex-A72: Cortex-A72 Software Optimization Guide (ARM UAN 0016A), 4.1 and its table of ASIMD integer instructions:
#     3 micro-operations a cycle, pipes F0, which alone multiplies, and F1, which alone adds pairs to an accumulator; one load pipe.
CORES = {
    "Cortex-A76": Core(decode=4, simd=2, loads=2, products={}),
    "Apple M1": Core(decode=8, simd=4, loads=3, products={}),
    "Cortex-A72": Core(decode=3, simd=2, loads=1, products={r"sm[ul]": 1, r"sadalp": 1}),
}
WIDTHS = {"sdot, 6 rows": ("Cortex-A76", "Apple M1"), "smull chain, 2 rows": ("Cortex-A72",)}


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


def is_load(line):
    return bool(re.match(r"(ld|prfm)", line))


def is_simd(line):
    return not is_load(line) and bool(re.match(r"\S+\s+[vqds]\d", line))


def slots(line):
    """1, and one more for what cores may split: the second of a pair of loads, a pointer that a load moves on."""
    return 1 + line.startswith("ldp") + (is_load(line) and bool(re.search(r"\],|\]!", line)))


def width_bounds(core, body):
    """Cycles an iteration by each width of the core."""
    products = [line for line in body if re.match(PRODUCTS, line)]
    by_kind = [sum(bool(re.match(pattern, line)) for line in products) / rate for pattern, rate in core.products.items()]
    return {
        "products": max([len(products) / core.simd, *by_kind]),
        "SIMD": sum(map(is_simd, body)) / core.simd,
        "decode": sum(map(slots, body)) / core.decode,
        "loads": sum(2 if line.startswith("ldp") else 1 for line in body if is_load(line)) / core.loads,
    }


def body_of(unit, pattern, argument):
    """(compiler, instructions of the tile's loop), or none if NAME=FILE.s is another unit's."""
    name, path = argument.split("=")
    file_unit, compiler = name.split(":")
    if file_unit != unit:
        return None
    bodies = [longest_product_loop(lines) for symbol, lines in functions(path).items() if re.search(pattern, symbol)]
    bodies = [b for b in bodies if b]
    if not bodies:
        sys.exit(f"{path}: no loop in a function like {pattern}")
    # Of as many products (the epilogues' instances of one tile) the one with most beside them.
    return compiler, max(bodies, key=lambda body: (count_products(body), len(body)))


def print_mca(tool, loops):
    """llvm-mca's table; the lowest share of the issue limit."""
    worst = 1.0
    print(f"{'kernel':<38}{'compiler':<10}{'CPU':<13}{'products':>8}{'instr.':>8}{'cycles':>8}{'limit':>8}{'of limit':>9}{'of products alone':>19}")
    for title, cpus, compiler, body in loops:
        for cpu, rate in cpus.items():
            cycles, limit = mca(tool, cpu, body)
            products = count_products(body)
            worst = min(worst, limit / cycles)
            print(f"{title:<38}{compiler:<10}{cpu:<13}{products:>8}{len(body):>8}{cycles:>8.2f}{limit:>8.2f}"
                  f"{limit / cycles:>9.1%}{products / rate / cycles:>19.1%}")
    return worst


def print_widths(loops):
    """The table by published widths; the lowest share that products are of the bound."""
    worst = 1.0
    missing = WIDTHS.keys() - {title for title, *_ in loops}
    if missing:
        sys.exit(f"no loop of {', '.join(sorted(missing))}, which are to be judged by widths")
    print(f"{'kernel':<38}{'compiler':<10}{'core':<13}{'products':>8}{'instr.':>8}   cycles by: {'products':>8}{'SIMD':>8}{'decode':>8}"
          f"{'loads':>8}{'bound':>8}{'products of bound':>19}")
    for title, _, compiler, body in loops:
        for name in WIDTHS.get(title, ()):
            cycles = width_bounds(CORES[name], body)
            bound = max(cycles.values())
            share = cycles["products"] / bound
            worst = min(worst, share)
            print(f"{title:<38}{compiler:<10}{name:<13}{count_products(body):>8}{len(body):>8}              "
                  + "".join(f"{c:>8.2f}" for c in cycles.values()) + f"{bound:>8.2f}{share:>19.1%}")
    return worst


def main():
    tool, *files = sys.argv[1:]
    loops = []
    for unit, pattern, title, cpus in TILES:
        for argument in files:
            found = body_of(unit, pattern, argument)
            if found:
                loops.append((title, cpus, *found))
    by_model = print_mca(tool, loops)
    print()
    by_widths = print_widths(loops)
    print(f"\nlowest share of the issue limit by llvm-mca: {by_model:.1%}; of the bound by published widths that products are: {by_widths:.1%}")
    return 0 if min(by_model, by_widths) >= 0.9 else 1


if __name__ == "__main__":
    sys.exit(main())
