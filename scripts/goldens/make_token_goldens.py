#!/usr/bin/env python3
"""Writes tests/data/tokens/: what the reference tokenizer gives for many texts, options and tokenizers.

    python3 scripts/goldens/make_token_goldens.py --shared ../shared

Needs the packages of scripts/goldens/requirements.txt. `--shared` has data/text (strings) and tokenizers/ (vocabularies);
what the tests need of them is written here, cut down, so that the tests run without it.

Files (gzip'd JSON lines; the first line of a group has "tokenizer", a tokenizer.json or a patch of the bundled
one, or "files", a folder; the following ones have a request and what the reference answers):
  bundled.jsonl.gz    every string on the bundled (uncased) tokenizer
  <name>.jsonl.gz     some strings on other vocabularies, cut down to the tokens that these strings touch
  options.jsonl.gz    the bundled vocabulary with other options, added tokens, truncation, words
  random.jsonl.gz     the rounds of differential_tokenizer.py for some seeds
  folders.jsonl.gz    folders of vocab.txt and its companions, read by transformers' BertTokenizer
  code_points.bin     CRC-32 for every 4096 code points of what the normalizer and pre-tokenizer do to each
"""

import argparse
import copy
import gzip
import json
import os
import pathlib
import random
import struct
import sys
import tempfile
import zlib

import tokenizers
from tokenizers import Tokenizer, normalizers

import differential_tokenizer as differential

PINNED = "0.23.3"
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "tests" / "data" / "tokens"
BUNDLED = ROOT / "models" / "minilm-ner" / "tokenizer.json"


def write_lines(name, rows):
    """Deterministic: no time stamp in the gzip header."""
    data = "".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n" for r in rows).encode()
    path = OUT / name
    with open(path, "wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=9) as f:
        f.write(data)
    print(f"{path.name}: {len(rows)} lines, {path.stat().st_size} bytes")


def answer(tokenizer, request):
    """The request with the reference's chunks, byte offsets included; or with "error"."""
    full = {"escape": False, "add_special": True, "left": False, "stride": 0, **request}
    result = differential.reference(tokenizer, full)
    if "error" in result:
        return {**request, "error": True}
    for chunk in result["chunks"]:
        if "sequences" not in chunk and "pair" not in request:
            chunk["sequences"] = [0] * len(chunk["ids"])
        if "sequences" in chunk:
            chunk["byte_offsets"] = differential.byte_offsets(full, chunk)
    return {**request, "chunks": result["chunks"]}


def shared_texts(shared):
    texts = []
    for path in sorted((shared / "data" / "text").glob("*.jsonl")):
        texts += [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return texts


def bundled(texts):
    tokenizer = Tokenizer.from_file(str(BUNDLED))
    rows = [{"tokenizer": {}}]
    for text in texts:
        chunks = answer(tokenizer, {"text": text})["chunks"]
        for chunk in chunks:  # all of one text without limits: these follow from the others
            for key in ("sequences", "type_ids", "special"):
                del chunk[key]
        rows.append({"text": text, "chunks": chunks})
    return rows


def cut_down(path, texts):
    """The tokenizer with only the tokens that the texts touch, renumbered: the reference is asked again with it."""
    spec = json.loads(path.read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(path))
    used = {t["content"] for t in spec["added_tokens"]} | {spec["model"]["unk_token"]}
    for text in texts:
        used.update(tokenizer.encode(text).tokens)
    vocab = spec["model"]["vocab"]
    kept = [t for t in sorted(vocab, key=vocab.get) if t in used]
    spec["model"]["vocab"] = {t: i for i, t in enumerate(kept)}
    for token in spec["added_tokens"]:
        token["id"] = spec["model"]["vocab"][token["content"]]
    specials = spec["post_processor"]["special_tokens"]
    for name, special in specials.items():
        special["ids"] = [spec["model"]["vocab"][name]]
    return spec


def other_vocabulary(path, texts):
    spec = cut_down(path, texts)
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    return [{"tokenizer": spec}] + [answer(tokenizer, {"text": t}) for t in texts]


def merge_patch(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def added(content, **flags):
    token = {"id": 0, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": False}
    token.update(flags)
    return token


def added_token_sets():
    """Added tokens by flag, overlapping ones, ones that the normalizer changes; texts to try each with."""
    yield [added("<e>", lstrip=True), added("</e>", rstrip=True), added("<b>", lstrip=True, rstrip=True)], [
        "a <e> b </e> c", "  <e>   </e>  ", "<e></e>", "x<e>y</e>z", "\u00a0<e>\u2003</e>\u3000q", "<b> <b>  <b>",
        "  <b>", "<b>  ", "a\n\t<b>\r\nb", "<e> <b> </e>"]
    yield [added("new", single_word=True), added("york", single_word=True, normalized=True)], [
        "new newer anew new-york new_york", "new", "news new.", "\u00e9new newé", "New York YORK yorker", "new\u0301",
        "\u4e2dnew\u4e2d", "new\u200dnew", "9new new9", "(new)", "new\u20e3", "york\u0301 york", "new\u00b2"]
    yield [added("ab"), added("abc"), added("bcd"), added("cd")], [
        "abcd", "ababcd", "abcbcd", "xabcdcd", "abcabc", "aabbccdd", "abc d", "ABCD"]
    yield [added("Caf\u00e9", normalized=True), added("STRASSE", normalized=True), added("\u4e2d", normalized=True),
           added("a b", normalized=True)], [
        "caf\u00e9 CAFE cafe\u0301 Cafe", "Strasse stra\u00dfe", "\u4e2d\u56fd \u4e2d", "a b a  b a\tb A B",
        "xcafey", "a\u00adb a \u200bb"]
    yield [added("<a>", rstrip=True), added(" b"), added("  "), added(" c", lstrip=True)], [
        "x <a>   b c", "<a>    c", "   ", "a    b   c", "<a><a>  <a>"]
    yield [added("<s>", special=True), added("<n>", special=True, normalized=True), added("<o>")], [
        "<s> <n> <o> [SEP] [MASK]", "<N> <S> <O>", "[CLS][SEP]", "[cls] [Sep]"]
    yield [added("\u0301", normalized=True)], ["ab cd", "e\u0301", "", " a "]
    yield [added("\U0001f600"), added("\u00a0"), added("\u2028", rstrip=True)], ["a\U0001f600b\U0001f600", "a\u00a0b", "a\u2028 b"]


def option_patches():
    for clean in (True, False):
        for chinese in (True, False):
            for strip in ("null", True, False):
                for lower in (True, False):
                    normalizer = {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
                                  "lowercase": lower}
                    if strip != "null":
                        normalizer["strip_accents"] = strip
                    yield {"normalizer": normalizer}
    for limit in (0, 1, 2, 7, 99, 101):
        yield {"model": {"max_input_chars_per_word": limit}}
    yield {"model": {"continuing_subword_prefix": ""}}
    yield {"model": {"unk_token": "[MASK]"}}
    yield {"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101],
                              "single": None, "pair": None, "special_tokens": None}}


LENGTH_TEXTS = ["", "a", "a b c d e f g h", "unaffable embeddings are nice, very nice indeed!", "中国 北京 東京",
                "x" * 99, "x" * 100, "x" * 101, "é" * 100, "e\u0301" * 60 + "!", "한국어 한국어 한국어", "[SEP] a [SEP] b"]


def options(texts):
    base = json.loads(BUNDLED.read_text(encoding="utf-8"))
    rng = random.Random(7)
    rows = []

    def group(patch, requests):
        spec = merge_patch(base, patch)
        if "normalizer" in patch and "strip_accents" not in patch["normalizer"]:
            spec["normalizer"].pop("strip_accents", None)
            patch["normalizer"]["strip_accents"] = None
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        rows.append({"tokenizer": patch})
        rows.extend(answer(tokenizer, r) for r in requests)

    nasty = [t for t in texts if len(t) < 80]
    for patch in option_patches():
        group(patch, [{"text": t} for t in rng.sample(nasty, 40) + LENGTH_TEXTS])
    for tokens, samples in added_token_sets():
        requests = [{"text": t, "escape": e} for t in samples for e in (False, True)]
        requests += [{"words": t.split(" ")} for t in samples] + [{"text": samples[0], "pair": samples[-1]}]
        group({"added_tokens": base["added_tokens"] + tokens}, requests)
    limits = []
    for length in list(range(1, 12)) + [17, 40]:
        for stride in (0, 1, 2, 5, 8):
            for text in rng.sample(LENGTH_TEXTS, 5):
                limits.append({"text": text, "max_length": length, "stride": stride, "add_special": rng.random() < 0.8})
                limits.append({"text": text, "pair": rng.choice(LENGTH_TEXTS[:5]), "max_length": length,
                               "stride": stride})
    words = [{"words": w, "add_special": s} for s in (True, False) for w in
             ([], [""], ["a"], ["New York", "unaffable", "", " ", "[SEP]", "e\u0301\u0301", "中国", "x" * 101, "a,b"])]
    words += [{"words": rng.sample(nasty, 6), "max_length": 20, "stride": 4} for _ in range(30)]
    words += [{"text": "", "pair": ""}, {"text": "a", "pair": ""}, {"text": "", "pair": "a"}, {"text": "", "add_special": False}]
    group({}, limits + words)
    return rows


def random_rounds(seeds, texts):
    rows = []
    for seed in seeds:
        rng = random.Random(seed)
        spec, extra, _ = differential.random_tokenizer(rng)
        if differential.ambiguous(spec):
            continue
        left = rng.random() < 0.3
        if left:
            spec["truncation"] = {"direction": "Left", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        rows.append({"tokenizer": spec})
        for _ in range(texts):
            request = differential.random_request(rng, extra)
            request["left"] = left
            rows.append(answer(tokenizer, request))
    return rows


FOLDER_VOCAB = ("[PAD] [UNK] [CLS] [SEP] [MASK] hello Hello ##s world caf ##e ##é café cafe <s> </s> ent foo ##bar 中 国 [ ] ! a "
                "b ##中 ##国 new ##1 1 x\u00a0 \u3000 a\u00a0 UNK CLS SEP").split(" ")
FOLDER_TEXTS = ["Hello hellos Café world [SEP] [sep] ! 中国", "<ent> hello<ent>hello <s> x </s>",
                "foobar <A> <a> Foo FOO", "new1 a x [NEW] [MASK]  [MASK]", "  [CLS]foo UNK CLS"]


def folder_cases():
    vocab = "\n".join(FOLDER_VOCAB) + "\n"
    token = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": True}
    yield {"vocab.txt": vocab.replace("\n", "\r\n")}
    yield {"vocab.txt": vocab[:-1]}
    yield {"vocab.txt": vocab + "hello\n"}
    yield {"vocab.txt": vocab + "\n\nzz\n"}
    for config in (
            {}, {"do_lower_case": False, "model_max_length": 512}, {"do_lower_case": True, "strip_accents": False},
            {"do_lower_case": False, "strip_accents": True, "max_len": 77},
            {"strip_accents": None, "model_max_length": 1000000000000000019884624838656},
            {"tokenize_chinese_chars": False}, {"never_split": ["hellos"], "do_basic_tokenize": False},
            {"additional_special_tokens": ["<ent>", "<A>"]}, {"extra_special_tokens": ["<ent>", "<A>"]},
            {"extra_special_tokens": {"ent_token": "<ent>"}}, {"entity_token": "<ent>"},
            {"cls_token": "<s>", "sep_token": "</s>", "bos_token": "<s>", "eos_token": "</s>"},
            {"cls_token": "[NEW]"}, {"mask_token": None}, {"split_special_tokens": True}, {"truncation_side": "left"},
            {"mask_token": {"__type": "AddedToken", "content": "[MASK]", **token, "lstrip": True, "rstrip": True}},
            {"additional_special_tokens": ["Foo"],
             "added_tokens_decoder": {"37": {"content": "<ent>", **token, "normalized": True, "special": False}}}):
        yield {"vocab.txt": vocab, "tokenizer_config.json": config}
    for special in (
            {"additional_special_tokens": ["<ent>", "<A>"]}, {"cls_token": "<s>", "sep_token": "</s>", "unk_token": "UNK"},
            {"mask_token": {"content": "[MASK]", "lstrip": True, "rstrip": False, "single_word": False, "normalized": True}}):
        yield {"vocab.txt": vocab, "special_tokens_map.json": special}
    yield {"vocab.txt": vocab, "added_tokens.json": {"<ent>": 39, "<A>": 38, "Foo": 40}}
    yield {"vocab.txt": vocab, "added_tokens.json": {"<ent>": 38, "<A>": 37},
           "special_tokens_map.json": {"additional_special_tokens": ["<A>"]}}
    yield {"vocab.txt": vocab, "tokenizer_config.json": {"additional_special_tokens": ["<A>"]},
           "special_tokens_map.json": {"additional_special_tokens": ["<ent>"]}}
    yield {"vocab.txt": vocab, "tokenizer_config.json": {"extra_special_tokens": ["<ent>"]},
           "special_tokens_map.json": {"extra_special_tokens": ["<A>"]}}
    yield {"vocab.txt": vocab, "special_tokens_map.json": {"additional_special_tokens": ["<n>"]},
           "added_tokens.json": {"new": 99},
           "tokenizer_config.json": {"added_tokens_decoder": {
               "0": {"content": "[PAD]", **token}, "37": {"content": "<ent>", **token, "lstrip": True, "special": False},
               "38": {"content": "<A>", **token}}}}


def folders():
    from transformers import BertTokenizer
    rows = []
    for files in folder_cases():
        files = {name: c if isinstance(c, str) else json.dumps(c) for name, c in files.items()}
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (pathlib.Path(folder) / name).write_text(content, encoding="utf-8", newline="")
            tokenizer = BertTokenizer.from_pretrained(folder)
            limit = tokenizer.model_max_length
            rows.append({"files": files, "model_max_length": limit if limit < 1e20 else 0, "vocab_size": len(tokenizer)})
            for text in FOLDER_TEXTS:
                e = tokenizer(text, truncation=True, max_length=9, return_offsets_mapping=True,
                              return_special_tokens_mask=True)
                rows.append({"text": text, "max_length": 9, "overflow": False, "chunks": [{
                    "ids": e["input_ids"], "type_ids": e["token_type_ids"], "special": e["special_tokens_mask"],
                    "offsets": [list(o) for o in e["offset_mapping"]]}]})
    return rows


def code_points():
    """For each 4096 code points and each kind of probe, CRC-32 of the reference's answers, one a line."""
    probes = []
    for bits in range(16):
        clean, chinese, strip, lower = (bool(bits & b) for b in (1, 2, 4, 8))
        n = normalizers.BertNormalizer(clean_text=clean, handle_chinese_chars=chinese, strip_accents=strip, lowercase=lower)
        probes.append(lambda c, f=n.normalize_str: f(c))
        if strip:  # canonical order: between marks of classes 230 and 220, and of 1 and 240
            probes.append(lambda c, f=n.normalize_str: f("a\u0301" + c + "\u0323b\u0345" + c + "\u0334"))
    for clean in (True, False):
        spec = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "post_processor": None,
                "decoder": None, "pre_tokenizer": {"type": "BertPreTokenizer"},
                "normalizer": {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": True,
                               "strip_accents": None, "lowercase": True},
                "model": {"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##",
                          "max_input_chars_per_word": 100, "vocab": {"u": 0}}}
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        probes.append(lambda c, t=tokenizer: " ".join(f"{b},{e}" for b, e in t.encode("x" + c + "y " + c).offsets))
    out = []
    for start in range(0, 0x110000, 4096):
        points = [chr(c) for c in range(start, start + 4096) if not 0xD800 <= c < 0xE000]
        for probe in probes:
            out.append(zlib.crc32("".join(probe(c) + "\n" for c in points).encode()))
    path = OUT / "code_points.bin"
    path.write_bytes(struct.pack(f"<{len(out)}I", *out))
    print(f"{path.name}: {len(probes)} probes, {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=pathlib.Path, default=ROOT.parent / "shared")
    args = parser.parse_args()
    if tokenizers.__version__ != PINNED:
        sys.exit(f"tokenizers {PINNED} needed, found {tokenizers.__version__}")
    os.makedirs(OUT, exist_ok=True)
    texts = shared_texts(args.shared)
    write_lines("bundled.jsonl.gz", bundled(texts))
    for name in ("bert-base-cased", "bert-base-chinese", "bert-base-multilingual-cased", "uncased-keep-accents"):
        write_lines(f"{name}.jsonl.gz", other_vocabulary(args.shared / "tokenizers" / name / "tokenizer.json", texts[::12]))
    write_lines("options.jsonl.gz", options(texts))
    write_lines("random.jsonl.gz", random_rounds(range(1000, 1060), 16))
    write_lines("folders.jsonl.gz", folders())
    code_points()


if __name__ == "__main__":
    main()
