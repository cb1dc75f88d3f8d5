#!/usr/bin/env python3
"""What an instruction set's Release object may contain.

usage: isa_symbols.py NM OBJDUMP CONFIG OBJECT...

1. Exactly one exported symbol, the kernel table, and no weak one: an inline function that leaked out of such a unit
   could be picked by the linker for code that runs on any CPU.
2. No constructor (.init_array), which would run this instruction set's code at start-up on any CPU.
3. Nothing undefined but a few C functions: no C++ library.
4. The inner loops of the matrix products keep their accumulators in registers: no vector load or store on the stack.
5. Attention fetches rows ahead and products the lines of their results: g++ takes a function that only prefetches for
   one without effects, and drops every call of it without a word.

Exit status 77 (skipped) for builds that are not optimised: they inline nothing and spill everything.
"""

import collections
import os
import re
import subprocess
import sys

C_FUNCTIONS = {"memset", "memcpy", "memmove", "fmaf", "sqrt", "sqrtf", "_GLOBAL_OFFSET_TABLE_"}

# By architecture: multiply-accumulate instructions; vector register; access through stack or frame pointer (clang takes
# rbp for any other address as well, with an index then).
X86 = (r"vpdpbusd|vpmaddubsw|vfmadd231ps", r"%[xyz]mm", r"\(%rsp|-(?:0x)?[0-9a-f]+\(%rbp\)")
ARM = (r"\b(sdot|smmla|smull|smlal|sadalp|smlal2|fmla)\b", r"\b[qv]\d+", r"\[(sp|x29)")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def symbol_faults(nm, path):
    exported = []
    for line in output(nm, path).splitlines():
        kind, name = line.split()[-2:]
        if kind == "U":
            if name not in C_FUNCTIONS:
                yield f"needs {name}, which is not one of {sorted(C_FUNCTIONS)}"
        elif kind in "wWvVu":
            yield f"has the weak symbol {name}"
        elif kind.isupper():
            exported.append(name)
    if len(exported) != 1 or "Table" not in exported[0]:
        yield f"must export its table and nothing else, exports {exported}"


def section_faults(objdump, path):
    for line in output(objdump, "-h", path).splitlines():
        if re.search(r"\.init_array|\.ctors|\.fini_array", line):
            yield f"has a constructor: {line.split()[1]}"


def innermost_loops(lines):
    """First line, last line and function of each conditional backward jump's range in the tile functions that holds no
    other such range.

    An unconditional one, or one across a return, comes from code that is laid out behind the function's end and rejoins
    it, not from a loop."""
    address, function, of_line, loops = {}, "", [], []
    for i, line in enumerate(lines):
        header = re.match(r"[0-9a-f]+ <(.*)>:", line)
        if header:
            function = header.group(1)
        of_line.append(function)
        start = re.match(r"\s*([0-9a-f]+):", line)
        if start:
            address[int(start.group(1), 16)] = i
    for i, line in enumerate(lines):
        jump = re.search(r"\s(?:j(?!mp)\w+|b\.\w+|cbn?z|tbn?z)\s+(?:[wx]\d+, )?(?:#\d+, )?(?:0x)?([0-9a-f]+) <", line)
        target = address.get(int(jump.group(1), 16)) if jump else None
        if target is not None and target <= i and of_line[target] == of_line[i] and "tile" in of_line[i]:
            loops.append((target, i))
    loops = [(a, b) for a, b in loops if not any(re.search(r"\sret", line) for line in lines[a:b])]
    return [(a, b, of_line[a]) for a, b in loops if not any((c, d) != (a, b) and a <= c and d <= b for c, d in loops)]


def fetch_faults(text):
    count, function = collections.Counter(), ""
    for line in text.splitlines():
        header = re.match(r"[0-9a-f]+ <(.*)>:", line)
        if header:
            function = header.group(1)
        elif re.search(r"\s(prefetch|prfm)", line) and "tile" not in function:
            count[function] += 1
    # By names of whatever was not inlined into another of them. Products: the lines of bytes, and those of floats.
    for what, names, least in (
        ("attention_s8", r"attention_s8|AttentionArgs", 1),
        ("attention_static", r"attention_static|AttentionStaticArgs", 1),
        ("a product, outside of its tiles,", r"gemm|prefetch_results", 2),
    ):
        most = max((n for function, n in count.items() if re.search(names, function)), default=0)
        if most < least:
            yield f"{what} has {most} prefetches of at least {least}"


# A unit's inner loops that multiply, at the least: rows 1..6 of the integer and the float product; rows 1..4 of split
# rows and the lists of each of them, in two forms, for AVX2.
LEAST_LOOPS = 12
LEAST_LOOPS_SPLIT = 2 * (4 + 4 + 3 + 2 + 1)


def spill_faults(text, splits):
    mac, register, stack = X86 if "file format elf64-x86-64" in text else ARM
    lines = text.splitlines()
    of_split = others = 0
    for first, last, function in innermost_loops(lines):
        body = lines[first : last + 1]
        if not any(re.search(mac, line) for line in body):
            continue
        of_split += "SplitS8" in function
        others += "SplitS8" not in function
        for line in body:
            if re.search(stack, line) and re.search(register, line):
                yield f"spills in an inner loop of a product: {line.strip()}"
    if others < LEAST_LOOPS or (splits and of_split < LEAST_LOOPS_SPLIT):
        yield f"has only {others} inner loops with {mac}, {of_split} in SplitS8: this test no longer recognises them"


def main():
    nm, objdump, config, *paths = sys.argv[1:]
    if config not in ("Release", "RelWithDebInfo"):
        print(f"skipped: a {config} build inlines nothing")
        return 77
    faults = []
    for path in paths:
        found = list(symbol_faults(nm, path)) + list(section_faults(objdump, path))
        unit = os.path.basename(path).split(".")[0]
        if unit != "scalar":
            text = output(objdump, "-d", "--no-show-raw-insn", path)
            found += list(spill_faults(text, unit == "avx2")) + list(fetch_faults(text))
        faults += [f"{path}: {fault}" for fault in found]
        print(f"{path}: {'FAILED' if found else 'ok'}")
    print("\n".join(faults[:30]))
    return 1 if faults or not paths else 0


if __name__ == "__main__":
    sys.exit(main())
