#!/usr/bin/env python3
"""Which 255 levels should attention's probabilities be kept on? (docs/NUMERICS.md, "Attention in integers")

Simulates the bundled model in PyTorch with Q, K, V and the probabilities in integers and everything else in floats,
on windows of several lengths cut from running text, and prints how far the logits are from the float model's:

  normalized  q = round(254 p), p the softmax's output; context = q V / 254
  relative    q = round(254 e), e = exp(score - row maximum); context = q V / sum of q

Needs PyTorch and transformers (scripts/goldens/requirements.txt); nothing in the product or its tests does.
Usage: attention_levels.py MODEL_DIR TEXTS.jsonl     (a JSON string a line; only their tokens are used)
"""
import json
import math
import sys

import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

WINDOWS = (64, 128, 256, 512)
WINDOWS_OF_EACH = 12


def quantize(x, dim):
    """Symmetric int8 along `dim`, given back as floats."""
    scale = x.abs().amax(dim, keepdim=True) / 127
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return torch.clamp(torch.round(x / scale), -127, 127) * scale


def context(q, k, v, levels):
    """[H][S][d] queries, keys, values -> [H][S][d] under one choice of levels ("float": none)."""
    if levels == "float":
        return torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), -1) @ v
    q, k, v = quantize(q, -1), quantize(k, -1), quantize(v, 1)
    scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
    if levels == "normalized":
        return torch.round(254 * torch.softmax(scores, -1)) / 254 @ v
    u = torch.round(254 * torch.exp(scores - scores.amax(-1, keepdim=True)))
    return u @ v / u.sum(-1, keepdim=True)


def forward(model, ids, levels):
    bert, config = model.bert, model.config
    heads, width = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    x = bert.embeddings(input_ids=ids[None])[0]
    for layer in bert.encoder.layer:
        attention = layer.attention.self
        split = lambda y: y.view(len(ids), heads, width).transpose(0, 1)
        c = context(split(attention.query(x)), split(attention.key(x)), split(attention.value(x)), levels)
        x = layer.attention.output(c.transpose(0, 1).reshape(len(ids), -1), x)
        x = layer.output(layer.intermediate(x), x)
    return model.classifier(x)


def main(model_dir, texts):
    torch.set_grad_enabled(False)
    model = AutoModelForTokenClassification.from_pretrained(model_dir, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    ids = []
    with open(texts, encoding="utf-8") as lines:
        for line in lines:
            ids += tokenizer(json.loads(line), add_special_tokens=False)["input_ids"]
    print(f"{'tokens':>6}  {'levels':<10}  {'logits SQNR':>11}  {'agreement':>9}")
    for length in WINDOWS:
        step = length - 2
        windows = [ids[i * step:(i + 1) * step] for i in range(min(WINDOWS_OF_EACH, len(ids) // step))]
        for levels in ("normalized", "relative"):
            noise = signal = same = count = 0.0
            for window in windows:
                x = torch.tensor([tokenizer.cls_token_id] + window + [tokenizer.sep_token_id])
                want, got = forward(model, x, "float"), forward(model, x, levels)
                noise += ((got - want) ** 2).sum().item()
                signal += (want ** 2).sum().item()
                same += (got.argmax(-1) == want.argmax(-1)).sum().item()
                count += len(x)
            print(f"{length:>6}  {levels:<10}  {10 * math.log10(signal / noise):>8.2f} dB  {100 * same / count:>8.3f}%")


if __name__ == "__main__":
    main(*sys.argv[1:3])
