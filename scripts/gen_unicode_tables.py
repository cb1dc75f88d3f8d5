#!/usr/bin/env python3
"""Writes tokenizer/unicode_tables.{h,cpp} from the reference tokenizer itself.

The reference mixes several Unicode versions (categories, decompositions, case and whitespace come from different
places), so each property is probed, code point by code point, from the pinned package: tokenizers==0.23.3.

    python3 scripts/gen_unicode_tables.py            # writes the two files
    python3 scripts/gen_unicode_tables.py --check    # compares them with what would be written
"""

import argparse
import pathlib
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

PINNED = "0.23.3"
TABLES_VERSION = 1  # raise when the reference, and with it any property, changes
SHIFT = 7           # 128 code points a block: smallest total of the sizes tried (5 to 8)
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]

FLAGS = ["kRemoved", "kWhitespace", "kCjk", "kMarkNonspacing", "kPunctuation", "kWordChar", "kDecomposes", "kLowers",
         "kLowersToMany"]
BIT = {name: 1 << i for i, name in enumerate(FLAGS)}


def bert(clean=False, cjk=False, strip=False, lower=False):
    return normalizers.BertNormalizer(
        clean_text=clean, handle_chinese_chars=cjk, strip_accents=strip, lowercase=lower).normalize_str


def probe_words():
    """Code points that \\w of the reference's single_word test matches, and those that lstrip eats."""
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.add_tokens([AddedToken("X", single_word=True, normalized=False),
                          AddedToken("Y", lstrip=True, normalized=False)])
    x, y = tokenizer.token_to_id("X"), tokenizer.token_to_id("Y")
    word, strip = set(), set()
    for start in range(0, len(CODE_POINTS), 4096):
        part = CODE_POINTS[start:start + 4096]
        for c, e in zip(part, tokenizer.encode_batch(["X" + chr(c) for c in part])):
            if c == ord("X") or x not in e.ids:
                word.add(c)
        for c, e in zip(part, tokenizer.encode_batch(["a" + chr(c) + "Y" for c in part])):
            if e.offsets[e.ids.index(y)][0] == 1:
                strip.add(c)
    word.discard(ord("Y"))
    assert ord("Z") in word
    word.add(ord("Y"))  # "XY" holds the other probe
    strip.discard(ord("Y"))
    return word, strip


def probe_combining_classes(nfd, decomposition):
    """Canonical combining classes as far as they matter: found by how marks change places."""
    last, first = "\u0345", "\u0334"  # the highest class (240) and the lowest (1)
    moving = [c for c in CODE_POINTS if c not in decomposition and c not in (0x345, 0x334) and
              (nfd("a" + last + chr(c)) != "a" + last + chr(c) or nfd("a" + chr(c) + first) != "a" + chr(c) + first)]
    by_class = {}
    for c in moving:
        by_class.setdefault(unicodedata.combining(chr(c)), c)
    by_class.update({240: 0x345, 1: 0x334})
    by_class.pop(0, None)
    classes = {0x345: 240, 0x334: 1}
    for c in moving:
        above = [k for k, m in by_class.items() if m != c and nfd("a" + chr(m) + chr(c)) != "a" + chr(m) + chr(c)]
        below = [k for k, m in by_class.items() if m != c and nfd("a" + chr(c) + chr(m)) != "a" + chr(c) + chr(m)]
        equal = [k for k in by_class if k not in above and k not in below]
        assert len(equal) == 1 and all(k > equal[0] for k in above) and all(k < equal[0] for k in below), hex(c)
        classes[c] = equal[0]
    return classes


def probe():
    """Every property of every code point."""
    clean, cjk, strip, lower = bert(clean=True), bert(cjk=True), bert(strip=True), bert(lower=True)
    nfd = normalizers.NFD().normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    flags, lowered, decomposition = {}, {}, {}
    word, stripped_by_lstrip = probe_words()
    for c in CODE_POINTS:
        ch, f = chr(c), 0
        pieces = [p for p, _ in split("a" + ch + "b")]
        if pieces == ["a", "b"]:
            f |= BIT["kWhitespace"]
        elif pieces == ["a", ch, "b"]:
            f |= BIT["kPunctuation"]
        else:
            assert pieces == ["a" + ch + "b"]
        cleaned = clean(ch)
        if cleaned == "":
            f |= BIT["kRemoved"]
        else:
            assert cleaned == (" " if f & BIT["kWhitespace"] else ch), hex(c)
        spaced = cjk(ch)
        if spaced != ch:
            assert spaced == " " + ch + " "
            f |= BIT["kCjk"]
        decomposed = nfd(ch)
        if decomposed != ch:
            decomposition[c] = [ord(d) for d in decomposed]
            f |= BIT["kDecomposes"]
        elif strip(ch) == "":
            f |= BIT["kMarkNonspacing"]
        else:
            assert strip(ch) == ch
        low = lower(ch)
        if low != ch:
            lowered[c] = [ord(d) for d in low]
            f |= BIT["kLowers"] | (BIT["kLowersToMany"] if len(low) > 1 else 0)
        if c in word:
            f |= BIT["kWordChar"]
        assert (c in stripped_by_lstrip) == bool(f & BIT["kWhitespace"]), hex(c)
        flags[c] = f
    for c in CODE_POINTS:  # a composed character is stripped as its parts are
        if c in decomposition:
            kept = [d for d in decomposition[c] if not flags[d] & BIT["kMarkNonspacing"]]
            assert strip(chr(c)) == "".join(map(chr, kept)), hex(c)
            if not kept:
                flags[c] |= BIT["kMarkNonspacing"]
    classes = probe_combining_classes(nfd, decomposition)
    check_hangul(decomposition)
    return flags, lowered, decomposition, classes


def check_hangul(decomposition):
    """Hangul syllables decompose by arithmetic: the C++ code has no table for them."""
    for s in range(11172):
        parts = [0x1100 + s // 588, 0x1161 + s % 588 // 28] + ([0x11A7 + s % 28] if s % 28 else [])
        assert decomposition[0xAC00 + s] == parts
        del decomposition[0xAC00 + s]


def build(flags, lowered, decomposition, classes):
    pool, records, index_of, stage = [], [], {}, [0] * 0x110000
    def record(key):
        if key not in index_of:
            index_of[key] = len(records)
            records.append(key)
        return index_of[key]
    record((0, 0, 0, 0, 0))
    for c in CODE_POINTS:
        parts, low = decomposition.get(c, []), lowered.get(c, [])
        offset = len(pool) if parts else 0
        pool += parts
        value = low[0] - c if len(low) == 1 else 0
        if len(low) > 1:
            value = len(pool)
            pool += [len(low)] + low
        stage[c] = record((flags[c], classes.get(c, 0), len(parts), offset, value))
    blocks, stage1, stage2 = {}, [], []
    for start in range(0, 0x110000, 1 << SHIFT):
        block = tuple(stage[start:start + (1 << SHIFT)])
        if block not in blocks:
            blocks[block] = len(blocks)
            stage2 += block
        stage1.append(blocks[block])
    assert len(records) < 65536 and len(blocks) < 65536 and len(pool) < 65536
    return stage1, stage2, records, pool


def array(kind, name, values, form=str):
    lines, line = [], " "
    for v in values:
        item = form(v) + ","
        if len(line) + len(item) + 1 > 118:
            lines.append(line)
            line = " "
        line += " " + item
    lines.append(line)
    return f"const {kind} {name}[{len(values)}] = {{\n" + "\n".join(lines) + "\n};\n"


HEADER = """// GENERATED by scripts/gen_unicode_tables.py from tokenizers=={pinned}; do not edit.
//
// What the reference tokenizer does to each code point. Its parts follow different Unicode versions
// (categories 8.0, decompositions 13, case and whitespace those of its compiler), so the
// properties were probed one code point at a time. Frozen tokenizers store kUnicodeTablesVersion:
// a library with other tables refuses them rather than tokenize differently.
#ifndef OCTOBERT_TOKENIZER_UNICODE_TABLES_H_
#define OCTOBERT_TOKENIZER_UNICODE_TABLES_H_

#include <cstdint>

// clang-format off
namespace octobert::unicode {{

inline constexpr uint32_t kUnicodeTablesVersion = {version};

enum CharFlags : uint16_t {{
{flags}
}};

struct CharRecord {{
  uint16_t flags;                 // CharFlags
  uint8_t combining_class;        // canonical combining class
  uint8_t decomposition_size;     // code points in kPool; 0 for none, and for Hangul syllables (arithmetic)
  uint16_t decomposition_offset;  // in kPool
  int32_t lower;                  // lower case minus code point; with kLowersToMany an offset in kPool: count, code points
}};

inline constexpr int kBlockShift = {shift};
inline constexpr uint32_t kCodePoints = 0x110000;
extern const uint16_t kBlocks[{n1}];     // code point >> kBlockShift -> block
extern const uint16_t kIndices[{n2}];  // block, low bits -> record
extern const CharRecord kRecords[{nr}];
extern const uint32_t kPool[{np}];

// cp < kCodePoints.
inline const CharRecord& char_record(uint32_t cp) {{
  constexpr uint32_t kLow = (1u << kBlockShift) - 1;
  return kRecords[kIndices[(uint32_t{{kBlocks[cp >> kBlockShift]}} << kBlockShift) | (cp & kLow)]];
}}

}}  // namespace octobert::unicode
// clang-format on

#endif  // OCTOBERT_TOKENIZER_UNICODE_TABLES_H_
"""

FLAG_COMMENTS = {
    "kRemoved": "dropped by clean_text: NUL, U+FFFD, categories Cc Cf Co (Unicode 8.0) but tab, LF, CR",
    "kWhitespace": "white space of the pre-tokenizer, and of lstrip and rstrip",
    "kCjk": "gets spaces around it by handle_chinese_chars",
    "kMarkNonspacing": "category Mn (8.0), dropped by strip_accents",
    "kPunctuation": "ASCII punctuation or category P (8.0): a word of its own",
    "kWordChar": "\\w of single_word",
    "kDecomposes": "has a canonical decomposition",
    "kLowers": "has another lower case",
    "kLowersToMany": "whose lower case is several code points",
}


def render():
    stage1, stage2, records, pool = build(*probe())
    width = max(len(f) for f in FLAGS)
    flag_lines = "\n".join(f"  {f} = {BIT[f]},{' ' * (width - len(f) + 3 - len(str(BIT[f])))}  // {FLAG_COMMENTS[f]}"
                           for f in FLAGS)
    header = HEADER.format(pinned=PINNED, version=TABLES_VERSION, shift=SHIFT, n1=len(stage1), n2=len(stage2),
                           nr=len(records), np=len(pool), flags=flag_lines)
    source = f"""// GENERATED by scripts/gen_unicode_tables.py from tokenizers=={PINNED}; do not edit.
#include "tokenizer/unicode_tables.h"

// clang-format off
namespace octobert::unicode {{

{array("uint16_t", "kBlocks", stage1)}
{array("uint16_t", "kIndices", stage2)}
{array("CharRecord", "kRecords", records, lambda r: "{" + ",".join(map(str, r)) + "}")}
{array("uint32_t", "kPool", pool, lambda v: f"0x{v:x}")}
}}  // namespace octobert::unicode
// clang-format on
"""
    return {"unicode_tables.h": header, "unicode_tables.cpp": source}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the files differ")
    args = parser.parse_args()
    if tokenizers.__version__ != PINNED:
        sys.exit(f"tokenizers {PINNED} needed, found {tokenizers.__version__}")
    folder = pathlib.Path(__file__).resolve().parent.parent / "tokenizer"
    for name, text in render().items():
        path = folder / name
        if args.check:
            if path.read_text() != text:
                sys.exit(f"{path} differs from what the reference gives")
        else:
            path.write_text(text)
            print(f"{path}: {len(text)} bytes")


if __name__ == "__main__":
    main()
