#!/usr/bin/env python3
"""Random differential test of the tokenizer against the reference (tokenizers==0.23.3).

Each round makes a random tokenizer.json (small vocabulary, every normalizer option, odd prefixes and word limits,
added tokens with random flags, odd templates), random texts from a pool of nasty characters, and compares what
`octobert tokenize` gives with what the reference gives: ids, types, special mask, words, sequences and offsets.

    python3 scripts/goldens/differential_tokenizer.py build/bin/tokenize_lines [--rounds 200] [--seed 1]

The program (tests/tokenize_lines.cpp) takes a tokenizer.json and JSON requests a line on standard input.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

# Characters whose treatment differs from their neighbours', by what is odd about them.
POOL = {
    "letters": "abcxyzABCXYZIiKkßſ",
    "digits": "0129²Ⅷ①٣",
    "ascii punctuation": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "punctuation": "–—“”«»…、。！？؟।᛫\u2e43\U000111db§¶\u05be\u30fb\u00b7",
    "symbols": "£€°©™∑→♥¬×",
    "space": " \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000",
    "removed": "\x00\x01\x07\x7f\x9f\xad\u200b\u200c\u200d\u200e\u2060\ufeff\ufffd\ufff9\ue000\U000f0000\U000e0001",
    "kept though odd": "\u180e\u08e2\ufffe\uffff\U0001ffff\u0378\U0002ffff",
    "composed": "éÉñÑüÜåÅşğİıøŁǅⱥΆΐ\u1f82\u1f88\u0344\u0958ÔứỘ\U0001d15e\U0001d160\u2126\u212a\u212b\u1e9e\u0130",
    "marks": "\u0301\u0300\u0308\u0323\u0327\u0334\u0345\u05b0\u05b1\u064b\u0f71\u0f72\u0f73\u0f74\u3099\u093c\u20dd",
    "marks that stay": "\u08d4\u1ac0\u302e\u302f\u0903\u20e3\U0001d165\U0001d166\U0001d16d\U00011938\u1cf7\u0488",
    "hangul": "가각힣ᄀ\u1161\u11a8한국",
    "cjk": "中国北京東\u3400\u9fff\uf900\ufa6c\U00020000\U0002b820\U0002b920\U0002ceaf\U0002f800\U00030000",
    "kana": "ひらがなカタカナ\uff76\uff9e゛",
    "other scripts": "ЖжЙйІіАаΣσςΩωאבגשׁسلامहिन्दीไทยქართᲐꭰᎠ𐐀𐐨𞤀",
    "emoji": "😀👍🏽👨\u200d👩❤️\U0001f1e9\U0001f1ea",
}


def random_char(rng, pools):
    return rng.choice(POOL[rng.choice(pools)])


def random_text(rng, extra, longest=60):
    pools = rng.sample(list(POOL), rng.randint(1, len(POOL)))
    if rng.random() < 0.5:
        pools += ["letters", "space"] * 3
    parts = []
    for _ in range(rng.randint(0, longest)):
        r = rng.random()
        if r < 0.15 and extra:
            parts.append(rng.choice(extra))
        elif r < 0.2:
            parts.append(chr(rng.choice([c for c in (rng.randrange(0x110000) for _ in range(4))
                                         if not 0xD800 <= c < 0xE000] or [65])))
        elif r < 0.25:
            parts.append(random_char(rng, pools) * rng.randint(2, 12))
        else:
            parts.append(random_char(rng, pools))
    return "".join(parts)


def random_added(rng, pools):
    content = "".join(random_char(rng, pools) for _ in range(rng.randint(1, 4)))
    return {"id": 0, "content": content, "single_word": rng.random() < 0.3, "lstrip": rng.random() < 0.3,
            "rstrip": rng.random() < 0.3, "normalized": rng.random() < 0.4, "special": rng.random() < 0.4}


def random_template(rng, pair):
    pieces = [{"Sequence": {"id": "A", "type_id": rng.choice([0, 0, 3])}}]
    if pair:
        pieces.append({"Sequence": {"id": "B", "type_id": rng.choice([1, 1, 7])}})
        if rng.random() < 0.1:
            pieces.reverse()
    for _ in range(rng.randint(0, 4)):
        special = {"SpecialToken": {"id": rng.choice(["[CLS]", "[SEP]", "[TWO]"]), "type_id": rng.choice([0, 1, 5])}}
        pieces.insert(rng.randint(0, len(pieces)), special)
    return pieces


def random_tokenizer(rng):
    """A tokenizer.json and some strings worth having in the texts."""
    prefix = rng.choice(["##", "##", "##", "", "@@", "a", "\u0301"])
    pools = rng.sample(list(POOL), rng.randint(2, len(POOL))) + ["letters"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for pool in POOL.values():
        for c in pool:
            if rng.random() < 0.7:
                tokens += [c, prefix + c]
                tokens += [prefix + c.lower()]
    for _ in range(rng.randint(0, 200)):
        piece = "".join(random_char(rng, pools) for _ in range(rng.randint(1, 5)))
        tokens += [rng.choice(["", prefix]) + piece]
        tokens += [piece.lower()]
    tokens = list(dict.fromkeys(t for t in tokens if t))
    normalizer = {"type": "BertNormalizer", "clean_text": rng.random() < 0.6, "handle_chinese_chars": rng.random() < 0.6,
                  "strip_accents": rng.choice([None, True, False]), "lowercase": rng.random() < 0.6}
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, t in enumerate(tokens[:5])]
    contents = set(tokens[:5])
    for _ in range(rng.choice([0, 0, 1, 3, 8])):
        token = random_added(rng, pools)
        # Two tokens that normalize alike: which one the reference finds changes from run to run.
        if not any(token["content"].lower() == c.lower() for c in contents):
            contents.add(token["content"])
            added.append(token)
    post = rng.choice([None, {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}, "template", "template"])
    if post == "template":
        post = {"type": "TemplateProcessing", "single": random_template(rng, False), "pair": random_template(rng, True),
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                                   "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
                                   "[TWO]": {"id": "[TWO]", "ids": [2, 3], "tokens": ["[CLS]", "[SEP]"]}}}
    spec = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": rng.choice([normalizer] * 9 + [None]), "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": post,
            "decoder": rng.choice([None, {"type": "WordPiece", "prefix": prefix, "cleanup": rng.random() < 0.7}]),
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": prefix,
                      "max_input_chars_per_word": rng.choice([0, 1, 2, 5, 10, 100, 100, 100, 1 << 40]),
                      "vocab": {t: i for i, t in enumerate(tokens)}}}
    return spec, [t["content"] for t in added], tokens


def ambiguous(spec):
    """Whether two added tokens normalize alike (the reference's choice is random), or one to nothing (it panics)."""
    normalizer = Tokenizer.from_str(json.dumps(spec)).normalizer
    seen = set()
    for token in spec["added_tokens"]:
        if token["normalized"]:
            form = normalizer.normalize_str(token["content"]) if normalizer else token["content"]
            if form in seen or not form:
                return True
            seen.add(form)
    return False


def random_request(rng, extra):
    request = {"text": random_text(rng, extra)}
    r = rng.random()
    if r < 0.15:
        request = {"words": [random_text(rng, extra, 6) for _ in range(rng.randint(0, 8))]}
    elif r < 0.4:
        request["pair"] = random_text(rng, extra)
    if rng.random() < 0.4:
        request["max_length"] = rng.randint(1, 24)
        request["stride"] = rng.choice([0, 0, 1, 2, 5])
        request["left"] = False
    request["escape"] = rng.random() < 0.2
    request["add_special"] = rng.random() < 0.85
    return request


def reference(tokenizer, request):
    tokenizer.no_truncation()
    try:
        if request.get("max_length"):
            tokenizer.enable_truncation(request["max_length"], stride=request["stride"],
                                        direction="left" if request["left"] else "right")
        tokenizer.encode_special_tokens = request["escape"]
        if "words" in request:
            e = tokenizer.encode(request["words"], is_pretokenized=True, add_special_tokens=request["add_special"])
        else:
            e = tokenizer.encode(request["text"], request.get("pair"), add_special_tokens=request["add_special"])
    except BaseException as error:  # pyo3's PanicException is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        return {"error": str(error)}
    chunks = []
    for c in [e] + e.overflowing:
        chunks.append({"ids": c.ids, "type_ids": c.type_ids, "special": c.special_tokens_mask,
                       "words": [-1 if w is None else w for w in c.word_ids], "offsets": [list(o) for o in c.offsets]})
        if not request.get("max_length"):  # truncation loses them in the reference
            chunks[-1]["sequences"] = [s or 0 for s in c.sequence_ids]
    return {"chunks": chunks}


def byte_offsets(request, chunk):
    """What our byte offsets must be, from the code point offsets, which are the reference's."""
    spans = []
    for (b, e), s, w, special in zip(chunk["offsets"], chunk["sequences"], chunk["words"], chunk["special"]):
        text = "" if special else request["words"][w] if "words" in request else request["pair" if s else "text"]
        spans.append([len(text[:b].encode()), len(text[:e].encode())])
    return spans


def equal(request, ours, theirs):
    if "error" in ours or "error" in theirs:
        return "error" in ours and "error" in theirs
    return len(ours["chunks"]) == len(theirs["chunks"]) and all(
        all(a[k] == v for k, v in b.items()) and a["byte_offsets"] == byte_offsets(request, a)
        for a, b in zip(ours["chunks"], theirs["chunks"]))


def run_round(program, seed, texts):
    rng = random.Random(seed)
    spec, extra, tokens = random_tokenizer(rng)
    if ambiguous(spec):
        return 0, 0
    left = rng.random() < 0.3
    requests = [random_request(rng, extra) for _ in range(texts)]
    for request in requests:
        request["left"] = left
    if left:
        spec["truncation"] = {"direction": "Left", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    decode = [[rng.choice(tokens) for _ in range(rng.randint(0, 8))] for _ in range(10)]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(spec, f)
        tokenizer = Tokenizer.from_file(path)
        ids = list(range(tokenizer.get_vocab_size()))
        lines = requests + [{"decode": d} for d in decode] + [{"ids": ids}]
        result = subprocess.run([program, path], input="".join(json.dumps(r) + "\n" for r in lines).encode(),
                                capture_output=True, check=False)
        answers = [json.loads(line) for line in result.stdout.split(b"\n") if line]
    if result.returncode != 0 or len(answers) != len(lines) + 1:
        print(f"seed {seed}: exit {result.returncode}, {len(answers)} answers, {answers[:1]} {result.stderr[-2000:]}")
        return 1, 1
    bad = 0
    for request, ours in zip(requests, answers[1:]):
        theirs = reference(tokenizer, request)
        if not equal(request, ours, theirs):
            bad += 1
            if bad <= 2:
                print(f"seed {seed}: {json.dumps(request)}\n  ours   {json.dumps(ours)[:800]}\n"
                      f"  theirs {json.dumps(theirs)[:800]}\n  normalizer {spec['normalizer']} "
                      f"added {json.dumps(spec['added_tokens'][5:])}")
    decoder = tokenizer.decoder
    for d, ours in zip(decode, answers[1 + len(requests):]):
        if ours["text"] != (decoder.decode(d) if decoder else " ".join(d)):
            bad += 1
            print(f"seed {seed}: decode {d}: {ours}, {decoder and decoder.decode(d)!r}")
    if answers[-1]["tokens"] != [tokenizer.id_to_token(i) or "" for i in ids]:
        bad += 1
        print(f"seed {seed}: id_to_token differs")
    return len(requests), bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--texts", type=int, default=60, help="a round")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    total = failures = 0
    for seed in range(args.seed, args.seed + args.rounds):
        done, bad = run_round(args.program, seed, args.texts)
        total, failures = total + done, failures + bad
        if failures > 20:
            break
    print(f"{total} texts compared, {failures} differ")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
