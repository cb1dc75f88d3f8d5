#!/usr/bin/env python3
"""Writes a HuggingFace checkpoint folder with seeded random weights, for speed measurements and tests.

    scripts/make_random_checkpoint.py OUT [--shape base|large|minilm|tiny] [--dtype fp32|fp16|bf16] [--seed 1] ...

Standard library only. The same arguments give the same bytes on every machine (Python >= 3.9). Weights are normal
with standard deviation 0.02, as BERT's initialisation (biases and position rows too; LayerNorm around 1); the
vocabulary is the bundled one, cut or filled up with "[unusedN]" to --vocab lines.
"""

import argparse
import json
import pathlib
import random
import statistics
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
VOCABULARY = ROOT / "models" / "minilm-ner" / "vocab.txt"

#          layers, hidden, heads, intermediate
SHAPES = {
    "base": (12, 768, 12, 3072),
    "large": (24, 1024, 16, 4096),
    "minilm": (6, 384, 12, 1536),
    "tiny": (2, 64, 4, 128),
}
DTYPES = {"fp32": ("F32", 4), "fp16": ("F16", 2), "bf16": ("BF16", 2)}
CHUNK = 1 << 22  # values made at a time


def normal_levels():
    """256 equally likely values of a standard normal: the midpoints' quantiles."""
    normal = statistics.NormalDist()
    return [normal.inv_cdf((i + 0.5) / 256) for i in range(256)]


def upper_bytes(dtype, mean, deviation):
    """For each of 256 levels, the bytes of the value that carry sign, exponent and the first bits of the fraction."""
    tables = [bytearray(256), bytearray(256)]  # next to last byte, last byte (little-endian)
    for i, level in enumerate(normal_levels()):
        value = mean + deviation * level
        code = struct.pack("<e", value) if dtype == "F16" else struct.pack("<f", value)[2:]
        tables[0][i], tables[1][i] = code
    return [bytes(table) for table in tables]


def random_values(generator, count, dtype, mean, deviation):
    """Yields `count` values as bytes. A random byte picks the level; random low bits fill what lies between levels."""
    low, high = upper_bytes(dtype, mean, deviation)
    while count > 0:
        n = min(count, CHUNK)
        count -= n
        levels = generator.randbytes(n)
        if dtype == "F32":
            values = bytearray(4 * n)
            noise = generator.randbytes(2 * n)
            values[0::4], values[1::4] = noise[:n], noise[n:]
            values[2::4], values[3::4] = levels.translate(low), levels.translate(high)
        else:
            values = bytearray(2 * n)
            values[0::2], values[1::2] = levels.translate(low), levels.translate(high)
        yield values


def tensors(shape):
    """Name, dimensions, mean and standard deviation of every tensor."""
    hidden, inner = shape.hidden, shape.intermediate

    def norm(name):
        return [(name + ".LayerNorm.weight", [hidden], 1.0, 0.02), (name + ".LayerNorm.bias", [hidden], 0.0, 0.02)]

    def linear(name, outputs, inputs):
        return [(name + ".weight", [outputs, inputs], 0.0, 0.02), (name + ".bias", [outputs], 0.0, 0.02)]

    out = [
        ("bert.embeddings.word_embeddings.weight", [shape.vocab, hidden], 0.0, 0.02),
        ("bert.embeddings.position_embeddings.weight", [shape.positions, hidden], 0.0, 0.02),
        ("bert.embeddings.token_type_embeddings.weight", [2, hidden], 0.0, 0.02),
    ] + norm("bert.embeddings")
    for i in range(shape.layers):
        layer = f"bert.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            out += linear(f"{layer}.attention.self.{part}", hidden, hidden)
        out += linear(f"{layer}.attention.output.dense", hidden, hidden) + norm(f"{layer}.attention.output")
        out += linear(f"{layer}.intermediate.dense", inner, hidden)
        out += linear(f"{layer}.output.dense", hidden, inner) + norm(f"{layer}.output")
    return out + linear("classifier", shape.labels, hidden)


def write_weights(path, shape):
    dtype, width = DTYPES[shape.dtype]
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, dimensions, _, _ in tensors(shape):
        size = width
        for dimension in dimensions:
            size *= dimension
        header[name] = {"dtype": dtype, "shape": dimensions, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    generator = random.Random(shape.seed)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, dimensions, mean, deviation in tensors(shape):
            count = 1
            for dimension in dimensions:
                count *= dimension
            for values in random_values(generator, count, dtype, mean, deviation):
                out.write(values)


def labels(count):
    names = ["O"] + [f"{tag}-{kind}" for kind in ("LOC", "MISC", "ORG", "PER") for tag in "BI"]
    return (names + [f"B-T{i}" for i in range(len(names), count)])[:count]


def write_config(folder, shape):
    names = labels(shape.labels)
    config = {
        "architectures": ["BertForTokenClassification"],
        "hidden_act": shape.activation,
        "hidden_size": shape.hidden,
        "id2label": {str(i): name for i, name in enumerate(names)},
        "intermediate_size": shape.intermediate,
        "label2id": {name: i for i, name in enumerate(names)},
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": shape.positions,
        "model_type": "bert",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "vocab_size": shape.vocab,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tokenizer = {"do_lower_case": True, "model_max_length": shape.positions, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n", encoding="utf-8")


def write_vocabulary(folder, shape):
    lines = VOCABULARY.read_text(encoding="utf-8").split("\n")[:-1]
    lines += [f"[unused{10000 + i}]" for i in range(shape.vocab - len(lines))]
    with open(folder / "vocab.txt", "w", encoding="utf-8", newline="\n") as out:
        out.writelines(line + "\n" for line in lines[: shape.vocab])


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="folder to write; made if it is not there")
    parser.add_argument("--shape", choices=SHAPES, default="base")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--seed", type=int, default=1)
    for name in ("layers", "hidden", "heads", "intermediate"):
        parser.add_argument(f"--{name}", type=int, help="instead of the shape's")
    parser.add_argument("--vocab", type=int, default=30522)
    parser.add_argument("--positions", type=int, default=512)
    parser.add_argument("--labels", type=int, default=9)
    parser.add_argument("--activation", default="gelu")
    arguments = parser.parse_args()
    for name, value in zip(("layers", "hidden", "heads", "intermediate"), SHAPES[arguments.shape]):
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    numbers = [value for value in vars(arguments).values() if isinstance(value, int)]
    if min(numbers) < 1 or arguments.hidden % arguments.heads != 0 or arguments.vocab < 1000:
        parser.error("sizes and seed are positive, hidden is a multiple of heads, the vocabulary has 1000 words or more")
    return arguments


def main():
    if sys.version_info < (3, 9):
        sys.exit("Python 3.9 or later is needed")
    shape = parse_arguments()
    shape.out.mkdir(parents=True, exist_ok=True)
    write_config(shape.out, shape)
    write_vocabulary(shape.out, shape)
    write_weights(shape.out / "model.safetensors", shape)


if __name__ == "__main__":
    main()
