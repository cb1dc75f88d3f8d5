#!/usr/bin/env python3
"""Goldens of the forward pass: small random BERTs in many forms, with the reference's logits.

  make_model_goldens.py models OUT_DIR
      A checkpoint folder for each form below, with texts.jsonl and expected.safetensors: ids.N (int32 [S]) and
      logits.N (fp32 [S, labels]) for the N-th text, cut at the model's limit.
  make_model_goldens.py cut IN_DIR OUT_DIR COUNT
      The first COUNT texts of IN_DIR/texts.jsonl and of IN_DIR/logits.safetensors (another model's goldens).

Needs requirements.txt beside it. tests/convert_test.cpp reads the results.
"""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertConfig, BertForTokenClassification

ROOT = Path(__file__).resolve().parents[2]

TEXTS = [
    "",
    "a",
    "Marta Oyelaran flew from Lisbon to Nairobi.",
    "THE FERRY COMPANY NORDWIND BOUGHT TWO SHIPS, SAID ITS NEW DIRECTOR.",
    "In the spring of 1987 a young engineer left the Ministry of Transport and joined a small firm that built control "
    "systems for canal locks; within ten years it had offices in Antwerp, Montreal and Osaka.",
    "na\u00efve caf\u00e9 \u00dcbung, 3.14 % of $5 (approx.)",
    "\u738b\u82b3 lives in \u5317\u4eac",
    "\u0410\u043d\u043d\u0430 \u0436\u0438\u0432\u0451\u0442",
    "word " * 60,
    "http://example.com/x?id=42 @someone #tag ... !!!",
]

# Name, configuration, form of the file.
MODELS = {
    "gelu-ragged": (dict(hidden_size=20, num_attention_heads=4, intermediate_size=33, num_hidden_layers=2), "plain"),
    "bare-old-names": (dict(hidden_size=18, num_attention_heads=3, intermediate_size=50, num_hidden_layers=1), "old"),
    "relu-one-label-fp16": (
        dict(
            hidden_size=24,
            num_attention_heads=2,
            intermediate_size=40,
            num_hidden_layers=3,
            hidden_act="relu",
            num_labels=1,
            layer_norm_eps=1e-5,
            max_position_embeddings=24,
            type_vocab_size=1,
        ),
        "fp16",
    ),
    "gelu-new-bf16-sharded": (
        dict(hidden_size=32, num_attention_heads=1, intermediate_size=48, num_hidden_layers=2, hidden_act="gelu_new"),
        "bf16 sharded",
    ),
    "gelu-tanh-f64-module": (
        dict(
            hidden_size=35,
            num_attention_heads=7,
            intermediate_size=16,
            num_hidden_layers=2,
            hidden_act="gelu_pytorch_tanh",
            num_labels=7,
        ),
        "f64 module",
    ),
    # Weights six times BERT's: attention that looks at single tokens, activations far out on GELU's arms.
    "hot": (
        dict(
            hidden_size=48, num_attention_heads=6, intermediate_size=96, num_hidden_layers=4, initializer_range=0.6
        ),
        "plain",
    ),
}


def vocabulary():
    """Special tokens, all single characters of the bundled vocabulary's ASCII range, and some of its words."""
    bundled = (ROOT / "models/minilm-ner/vocab.txt").read_text(encoding="utf-8").split("\n")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    ascii_pieces = [t for t in bundled if len(t.removeprefix("##")) == 1 and t.isascii()]
    words = [t for t in bundled if len(t) > 1 and t.isascii() and t.isalpha() and t.islower()][:150]
    suffixes = [t for t in bundled if t.startswith("##") and t[2:].isalpha() and 2 <= len(t[2:]) <= 3][:80]
    return special + ascii_pieces + words + suffixes


def make_model(settings, vocab_size, seed):
    torch.manual_seed(seed)
    settings = dict(num_labels=3, max_position_embeddings=64, initializer_range=0.15) | settings
    model = BertForTokenClassification(BertConfig(vocab_size=vocab_size, **settings)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # initialised to 0 and 1: a reader could forget them
            if name.endswith("bias") or "LayerNorm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def save(model, form, folder):
    state = {k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "f64": torch.float64}.get(form.split()[0])
    if dtype is not None:
        if dtype == torch.float64:  # values that fp32 cannot hold: they must be rounded
            state = {k: v.double() + torch.rand_like(v, dtype=torch.float64) * 1e-9 for k, v in state.items()}
        else:
            state = {k: v.to(dtype) for k, v in state.items()}
        model.load_state_dict({k: v.float() for k, v in state.items()})
    if form == "old":
        state = {k.removeprefix("bert."): v for k, v in state.items()}
        state = {
            k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
            for k, v in state.items()
        }
        positions = model.config.max_position_embeddings
        state["embeddings.position_ids"] = torch.arange(positions).unsqueeze(0)
        state["pooler.dense.weight"] = torch.randn(4, 4)
    if form.endswith("module"):
        state = {"module." + k: v for k, v in state.items()}
    if not form.endswith("sharded"):
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(state)
    index = {"metadata": {"total_size": sum(v.nbytes for v in state.values())}, "weight_map": {}}
    for shard in range(3):
        file = f"model-{shard + 1:05}-of-00003.safetensors"
        part = names[shard::3]
        save_file({k: state[k] for k in part}, folder / file, metadata={"format": "pt"})
        index["weight_map"] |= {k: file for k in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def expected(model, tokenizer, limit):
    out = {}
    for n, text in enumerate(TEXTS):
        encoded = tokenizer(text, return_tensors="pt", truncation=True, max_length=limit)
        with torch.no_grad():
            out[f"logits.{n}"] = model(**encoded).logits[0].contiguous()
        out[f"ids.{n}"] = encoded.input_ids[0].to(torch.int32)
    return out


def make_models(out):
    tokens = vocabulary()
    for seed, (name, (settings, form)) in enumerate(MODELS.items()):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        model = make_model(settings, len(tokens), seed)
        save(model, form, folder)
        config = model.config.to_dict() | {"architectures": ["BertForTokenClassification"]}
        if form == "old":
            for key in ("id2label", "label2id", "model_type"):
                config.pop(key, None)
            config["num_labels"] = 3
        (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
        (folder / "vocab.txt").write_text("".join(t + "\n" for t in tokens), encoding="utf-8")
        limit = config["max_position_embeddings"]
        (folder / "tokenizer_config.json").write_text(
            json.dumps({"do_lower_case": True, "model_max_length": limit, "tokenizer_class": "BertTokenizer"}) + "\n"
        )
        with open(folder / "texts.jsonl", "w", encoding="utf-8") as texts:
            texts.writelines(json.dumps(text) + "\n" for text in TEXTS)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        save_file(expected(model, tokenizer, limit), folder / "expected.safetensors")


def cut(source, out, count):
    out.mkdir(parents=True, exist_ok=True)
    lines = (source / "texts.jsonl").read_text(encoding="utf-8").split("\n")[:count]
    (out / "texts.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    tensors = load_file(source / "logits.safetensors")
    save_file({k: v for k, v in tensors.items() if int(k.split(".")[1]) < count}, out / "expected.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    models = commands.add_parser("models")
    models.add_argument("out", type=Path)
    cutting = commands.add_parser("cut")
    cutting.add_argument("source", type=Path)
    cutting.add_argument("out", type=Path)
    cutting.add_argument("count", type=int)
    arguments = parser.parse_args()
    if arguments.command == "models":
        make_models(arguments.out)
    else:
        cut(arguments.source, arguments.out, arguments.count)


if __name__ == "__main__":
    main()
