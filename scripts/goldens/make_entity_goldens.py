#!/usr/bin/env python3
"""Goldens of token classification: what transformers.pipeline gives on a tiny random model, and on the bundled one.

  make_entity_goldens.py tiny OUT_DIR [--cases N] [--seed S] [--checkpoint DIR]
      OUT_DIR/checkpoint (unless one is given): a one-layer BERT with random weights and a small vocabulary.
      OUT_DIR/cases.jsonl.gz: a line a case: options, text or words, the pipeline's answer.
  make_entity_goldens.py compact IN.jsonl OUT.jsonl.gz [--every K]
      Another form of goldens that hold the five strategies' answers for one text a line, every K-th line.

Needs requirements.txt beside it. tests/entities_golden_test.cpp reads both forms.
Entities are arrays: [label, score, word, start, end], with strategy `none` [label, score, word, start, end, index].
"""
import argparse
import gzip
import io
import json
import random
import shutil
import tempfile
import unicodedata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STRATEGIES = ["none", "simple", "first", "average", "max"]
LABEL_COUNT = 9
MAX_POSITIONS = 48
LABEL_SETS = {
    "bio": "O B-LOC I-LOC B-MISC I-MISC B-ORG I-ORG B-PER I-PER".split(),
    "bioes": "O B-LOC I-LOC E-LOC S-LOC B-PER I-PER E-PER S-PER".split(),
    "bilou": "O B-LOC I-LOC L-LOC U-LOC B-PER I-PER L-PER U-PER".split(),
    "plain": "O LOC PER ORG MISC NOUN VERB X Y".split(),
    "numbers": [f"LABEL_{i}" for i in range(LABEL_COUNT)],
    "odd": ["B-O", "I-O", "O", "B-", "I-B-X", "X-Y-Z", "PER", "B-PER", "I-PER"],
}
# Edits of the checkpoint's files that make other tokenizers of it.
VARIANTS = {
    "": [],
    "no_prefix": [["tokenizer.json", '"continuing_subword_prefix":"##"', '"continuing_subword_prefix":""']],
    "left": [["tokenizer_config.json", '"truncation_side":"right"', '"truncation_side":"left"']],
    "cased": [["tokenizer.json", '"lowercase":true', '"lowercase":false']],
    "no_cleanup": [["tokenizer.json", '"cleanup":true', '"cleanup":false']],
    "no_chinese": [["tokenizer.json", '"handle_chinese_chars":true', '"handle_chinese_chars":false']],
}
NASTY = [
    "", " ", "\t\n", "\u00ad", "\u200b\u200d", "\x00", "[SEP]", "[sep]", "[CLS][SEP] [MASK]x[PAD]", "[UNK] berlin[UNK]",
    unicodedata.normalize("NFD", "Hélène Müller à Zürich"), "Hélène Müller à Zürich", "soft\u00adhyphen New\u00ad York",
    "zero\u200bwidth \u200bBerlin\u200b", "\u202eabc\u202c", "東京都に住む田中さん", "我爱北京天安门。", "New York-based U.S. firm",
    "5.975,74 EUR", "Jean-Baptiste O'Neil's", "a" * 101 + " b", "a" * 100, "😂😂 tokyo😂", "ｆｕｌｌｗｉｄｔｈ　ＡＢＣ",
    "ลอนดอน กรุงเทพ", "서울에서 김철수", "e\u0301\u0302\u0303", "\u0301berlin", "a\u0085b\u2028c\u00a0d", "...!!!???", "_under_score_ __init__",
    "http://t.co/abc?x=1 @user #tag", "ﬁnance ① ½", "İstanbul ẞ Σίσυφος", "line one\nline two\r\nline three", "\ufeffBOM", "x\ufffdy \ufffd",
]


def tiny_vocabulary(texts):
    """Specials, all single characters of the bundled vocabulary, and its pieces that the texts need most."""
    from tokenizers import Tokenizer

    bundled = Tokenizer.from_file(str(ROOT / "models/minilm-ner/tokenizer.json"))
    counts = {}
    for text in texts:
        for token in bundled.encode(text).tokens:
            counts[token] = counts.get(token, 0) + 1
    pieces = [v for v, _ in sorted(bundled.get_vocab().items(), key=lambda kv: kv[1])]
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    often = set(sorted(counts, key=lambda t: (-counts[t], t))[:500])

    def keep(piece):
        bare = piece.removeprefix("##")
        if piece in specials or piece.startswith("[unused"):
            return False
        # Not every letter: unknown words are wanted, too.
        single = len(bare) == 1 and (bare.isascii() or ord(bare) % 3 != 0) and bare not in "qx"
        return single or piece in often

    return specials + [p for p in pieces if keep(p)]


def make_checkpoint(folder, texts, seed):
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForTokenClassification

    folder.mkdir(parents=True, exist_ok=True)
    vocab = {piece: i for i, piece in enumerate(tiny_vocabulary(texts))}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    data = json.loads(tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")), encoding="utf8")
    config = {"do_lower_case": True, "model_max_length": MAX_POSITIONS, "tokenizer_class": "BertTokenizer", "truncation_side": "right",
              "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, separators=(",", ":")))
    torch.manual_seed(seed)
    model = BertForTokenClassification(BertConfig(
        vocab_size=len(vocab), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=MAX_POSITIONS, num_labels=LABEL_COUNT, initializer_range=0.6))
    with torch.no_grad():
        model.classifier.weight.mul_(2.0)
    model.config.id2label = dict(enumerate(LABEL_SETS["bio"]))
    model.config.label2id = {label: i for i, label in enumerate(LABEL_SETS["bio"])}
    model.save_pretrained(folder)


def sentences():
    lines = (ROOT / "data/ner/E2.tsv").read_text(encoding="utf8").split("\n\n")
    return [" ".join(row.split("\t")[0] for row in block.splitlines() if row) for block in lines if block.strip()]


def random_text(rng, corpus):
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(NASTY)
    if kind < 0.5:
        return rng.choice(corpus)
    if kind < 0.6:
        return " ".join(rng.sample(corpus, 3))
    parts = []
    for _ in range(rng.randint(1, 30)):
        word = rng.choice(rng.choice(corpus).split() if rng.random() < 0.6 else NASTY + [chr(rng.choice([
            rng.randrange(33, 127), rng.randrange(0xA0, 0x250), rng.randrange(0x300, 0x370), rng.randrange(0x4E00, 0x4E80),
            rng.randrange(0x3040, 0x3100), rng.randrange(0x2000, 0x2070), rng.randrange(0x1F600, 0x1F640), rng.randrange(0, 32)]))])
        parts.append(word + rng.choice([" ", " ", " ", "", "\n", "-", ".", "_"]))
    return "".join(parts)


def random_case(rng, corpus):
    case = {"variant": rng.choice([""] * 5 + list(VARIANTS)), "labels": rng.choice(["bio"] * 3 + list(LABEL_SETS)), "strategy": rng.choice(STRATEGIES)}
    if rng.random() < 0.3:
        case["max_length"] = rng.randint(3, MAX_POSITIONS - 1)
    length = case.get("max_length", MAX_POSITIONS)
    if rng.random() < 0.45:
        case["stride"] = rng.choice([0, 1, rng.randrange(length - 2), rng.randrange(length - 2)])
    if rng.random() < 0.3:
        names = {n for label in LABEL_SETS[case["labels"]] for n in (label, label.split("-", 1)[-1])}
        case["ignore_labels"] = rng.sample(sorted(names), rng.randint(0, 3))
    text = random_text(rng, corpus)
    if rng.random() < 0.25:
        case["words"] = text.split(" ") if rng.random() < 0.7 else [random_text(rng, corpus)[:20] for _ in range(rng.randint(1, 12))]
    else:
        case["text"] = text
    return case


class Reference:
    """The pipelines, and how near the last answer was to another one."""

    def __init__(self, checkpoint):
        from transformers import AutoModelForTokenClassification, PreTrainedTokenizerFast
        import torch

        torch.set_num_threads(1)
        self.model = AutoModelForTokenClassification.from_pretrained(checkpoint, dtype=torch.float32).eval()
        self.tokenizers = {}
        for name, edits in VARIANTS.items():
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / "tokenizer"
                shutil.copytree(checkpoint, copy)
                for file, old, new in edits:
                    content = (copy / file).read_text(encoding="utf8")
                    assert old in content, (file, old)
                    (copy / file).write_text(content.replace(old, new), encoding="utf8")
                # Not AutoTokenizer: transformers 5's BertTokenizer builds its own from the vocabulary.
                self.tokenizers[name] = PreTrainedTokenizerFast.from_pretrained(copy)

    def answer(self, case):
        from transformers import TokenClassificationPipeline

        tokenizer = self.tokenizers[case["variant"]]
        tokenizer.model_max_length = case.get("max_length", MAX_POSITIONS)
        self.model.config.id2label = dict(enumerate(LABEL_SETS[case["labels"]]))
        options = {k: case[k] for k in ("stride", "ignore_labels") if k in case}
        if not ("stride" in case and case["strategy"] == "none"):  # named, `none` refuses a stride; as the default it doesn't
            options["aggregation_strategy"] = case["strategy"]
        pipeline = TokenClassificationPipeline(model=self.model, tokenizer=tokenizer, device="cpu", **options)
        margins = [1.0]
        gather = pipeline.gather_pre_entities

        def gather_and_measure(sentence, input_ids, scores, *args, **kwargs):
            for row in scores:
                first, second = sorted(row.tolist())[-1:-3:-1]
                margins.append(first - second)
            return gather(sentence, input_ids, scores, *args, **kwargs)

        pipeline.gather_pre_entities = gather_and_measure
        result = pipeline(case["words"], is_split_into_words=True) if "words" in case else pipeline(case["text"])
        if "words" in case and len(result) == 1 and isinstance(result[0], list):
            result = result[0]
        return compact(result), min(margins)


def compact(entities):
    rows = []
    for e in entities:
        row = [e.get("entity_group", e.get("entity")), float(f"{float(e['score']):.6g}"), e["word"], e["start"], e["end"]]
        rows.append(row + [e["index"]] if "index" in e else row)
    return rows


def open_out(path):
    """The same content gives the same bytes: no time, no name in the gzip header."""
    return io.TextIOWrapper(gzip.GzipFile("", "wb", 9, open(path, "wb"), mtime=0), encoding="utf8")


def dump(file, value):
    file.write(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")


def tiny(args):
    rng = random.Random(args.seed)
    corpus = sentences()[:400]
    out = Path(args.out)
    checkpoint = Path(args.checkpoint) if args.checkpoint else out / "checkpoint"
    if not args.checkpoint:
        make_checkpoint(checkpoint, corpus + NASTY, seed=1)
    reference = Reference(checkpoint)
    with open_out(out / "cases.jsonl.gz") as file:
        dump(file, {"label_sets": LABEL_SETS, "variants": VARIANTS})
        written = 0
        while written < args.cases:
            case = random_case(rng, corpus)
            expected, margin = reference.answer(case)
            if margin < 1e-4:  # another label within reach of rounding
                continue
            dump(file, {**case, "expected": expected})
            written += 1


def compact_file(args):
    with open(args.source, encoding="utf8") as source, open_out(args.out) as out:
        for number, line in enumerate(source):
            if number % args.every:
                continue
            golden = json.loads(line)
            dump(out, {"text": golden["text"], **{s: compact(golden[s]) for s in STRATEGIES}})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("tiny")
    command.add_argument("out")
    command.add_argument("--cases", type=int, default=600)
    command.add_argument("--seed", type=int, default=7)
    command.add_argument("--checkpoint")
    command.set_defaults(run=tiny)
    command = commands.add_parser("compact")
    command.add_argument("source")
    command.add_argument("out")
    command.add_argument("--every", type=int, default=1)
    command.set_defaults(run=compact_file)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
