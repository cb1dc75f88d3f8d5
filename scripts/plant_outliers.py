#!/usr/bin/env python3
"""Plants outliers of activations into a HuggingFace BERT checkpoint whose float function stays what it was.

    scripts/plant_outliers.py CHECKPOINT OUT [--values FACTOR] [--norms OFFSET] [--channels N]

--values FACTOR (a power of two: exact): N channels of each layer's values are that many times larger, and the columns
of attention.output.dense that read them that many times smaller.
--norms OFFSET: N channels of what the embeddings' and each layer's LayerNorm give are larger by OFFSET. The biases of
the matrices that read them take it out again, and so does the bias that is added to the residual before the next
LayerNorm: the same function but for the rounding of floats. The last LayerNorm is left alone: the classifier reads it.

Standard library only. Tensors that change are written as fp32, whatever they were; everything else is copied.
"""

import argparse
import json
import math
import pathlib
import shutil
import struct
import sys
from array import array

FORMATS = {"F32": "f", "F16": "e"}


class Checkpoint:
    """The tensors of a model.safetensors: changed ones as arrays of floats, the others as bytes."""

    def __init__(self, path):
        data = path.read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        self.header = json.loads(data[8 : 8 + size])
        self.metadata = self.header.pop("__metadata__", {})
        self.data = memoryview(data)[8 + size :]
        self.changed = {}

    def floats(self, name):
        if name not in self.changed:
            if name not in self.header:
                sys.exit(f"no tensor {name} in the checkpoint")
            entry = self.header[name]
            if entry["dtype"] not in FORMATS:
                sys.exit(f"{name} is {entry['dtype']}, expected one of {', '.join(FORMATS)}")
            begin, end = entry["data_offsets"]
            code = FORMATS[entry["dtype"]]
            count = (end - begin) // struct.calcsize(code)
            self.changed[name] = array("f", struct.unpack(f"<{count}{code}", self.data[begin:end]))
        return self.changed[name]

    def write(self, path):
        header, offset, parts = {"__metadata__": self.metadata}, 0, []
        for name, entry in self.header.items():
            begin, end = entry["data_offsets"]
            dtype, part = entry["dtype"], self.data[begin:end]
            if name in self.changed:
                values = self.changed[name]
                dtype, part = "F32", struct.pack(f"<{len(values)}f", *values)
            header[name] = {"dtype": dtype, "shape": entry["shape"], "data_offsets": [offset, offset + len(part)]}
            offset += len(part)
            parts.append(part)
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as out:
            out.write(struct.pack("<Q", len(text)) + text)
            out.writelines(parts)


def scale_values(checkpoint, layer, channels, hidden, factor):
    weight = checkpoint.floats(f"{layer}.attention.self.value.weight")
    bias = checkpoint.floats(f"{layer}.attention.self.value.bias")
    reader = checkpoint.floats(f"{layer}.attention.output.dense.weight")
    for channel in channels:
        bias[channel] *= factor
        for i in range(hidden):
            weight[channel * hidden + i] *= factor
            reader[i * hidden + channel] /= factor


def shift_norm(checkpoint, norm, readers, residual, channels, offset):
    """norm's output + offset; `readers`: matrices of it, `residual`: the linear whose output is added to it."""
    shift, back = checkpoint.floats(f"{norm}.LayerNorm.bias"), checkpoint.floats(f"{residual}.bias")
    hidden = len(shift)
    for channel in channels:
        shift[channel] += offset
        back[channel] -= offset
    for reader in readers:
        weight, bias = checkpoint.floats(f"{reader}.weight"), checkpoint.floats(f"{reader}.bias")
        for row in range(len(bias)):
            bias[row] -= offset * math.fsum(weight[row * hidden + channel] for channel in channels)


def plant(checkpoint, config, arguments):
    hidden = config["hidden_size"]
    channels = [(2 * i + 1) * hidden // (2 * arguments.channels) for i in range(arguments.channels)]
    previous = "bert.embeddings"
    for i in range(config["num_hidden_layers"]):
        layer = f"bert.encoder.layer.{i}"
        attention = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
        if arguments.norms != 0:
            shift_norm(checkpoint, previous, attention, f"{layer}.attention.output.dense", channels, arguments.norms)
            shift_norm(checkpoint, f"{layer}.attention.output", [f"{layer}.intermediate.dense"],
                       f"{layer}.output.dense", channels, arguments.norms)
        if arguments.values != 1:
            scale_values(checkpoint, layer, channels, hidden, arguments.values)
        previous = f"{layer}.output"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path, help="folder to write; made if it is not there")
    parser.add_argument("--values", type=float, default=1)
    parser.add_argument("--norms", type=float, default=0)
    parser.add_argument("--channels", type=int, default=3)
    arguments = parser.parse_args()
    if not 1 <= arguments.channels <= 64 or arguments.values <= 0:
        parser.error("1 to 64 channels, and a factor larger than 0")
    if math.frexp(arguments.values)[0] != 0.5:
        parser.error("--values is a power of two")
    return arguments


def main():
    arguments = parse_arguments()
    config = json.loads((arguments.checkpoint / "config.json").read_text(encoding="utf-8"))
    checkpoint = Checkpoint(arguments.checkpoint / "model.safetensors")
    plant(checkpoint, config, arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for file in arguments.checkpoint.iterdir():
        if file.is_file() and file.name != "model.safetensors":
            shutil.copyfile(file, arguments.out / file.name)
    checkpoint.write(arguments.out / "model.safetensors")


if __name__ == "__main__":
    main()
