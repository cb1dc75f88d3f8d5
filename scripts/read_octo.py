#!/usr/bin/env python3
"""Reads a packed octobert model by docs/FORMAT.md alone, with nothing but the standard library.

A second reader, to prove the description and to look into files without building anything:

    scripts/read_octo.py MODEL.octo                      what is in it; exit status 1 and a message if it is malformed
    scripts/read_octo.py MODEL.octo --tensor NAME        the tensor's values, unpacked, one row a line
    scripts/read_octo.py MODEL.octo --json               everything but the weights as JSON

Checksums (XXH3) are checked if the module xxhash happens to be installed, which the summary says.
"""
import argparse
import json
import mmap
import struct
import sys

try:
    import xxhash
except ImportError:
    xxhash = None

SECTION_TYPES = {1: "config", 2: "labels", 3: "tokenizer", 4: "tensors", 5: "products", 6: "weights", 7: "provenance",
                 8: "test vectors", 9: "quantization report"}
REQUIRED_TYPES = (1, 2, 3, 4, 5)
CONFIG_FIELDS = ("family", "hidden_size", "layer_count", "head_count", "intermediate_size", "vocab_size",
                 "max_positions", "type_count", "label_count", "activation")
SCHEMES = {0: "float", 1: "weight-only", 2: "dynamic", 3: "static", 4: "weight-only-int4", 5: "weight-only-codebook"}
PRODUCTS = ("qkv", "scores", "context", "attention_output", "ffn1", "ffn2")
DTYPES = {0: ("f32", "f", 4), 1: ("i8", "b", 1), 2: ("i32", "i", 4), 3: ("i4", "B", 0.5), 4: ("u4", "B", 0.5)}
LAYOUTS = {0: "row-major", 1: "n16k4", 2: "n16k1", 3: "n16k8"}


class Malformed(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Malformed(message)


def round_up(value, multiple):
    return -(-value // multiple) * multiple


def name_of(field, where):
    text, _, rest = field.partition(b"\0")
    check(text and len(text) < len(field) and not rest.strip(b"\0") and all(32 <= c < 127 for c in text),
          f"{where}: name is not printable ASCII, NUL-padded")
    return text.decode("ascii")


def strings_of(data, where):
    check(len(data) >= 4, f"{where}: too short")
    count = struct.unpack_from("<I", data)[0]
    check(count <= len(data) // 4 - 1, f"{where}: claims {count} strings")
    ends = struct.unpack_from(f"<{count}I", data, 4)
    text = data[4 + 4 * count:]
    begin, result = 0, []
    for end in ends:
        check(begin <= end <= len(text), f"{where}: string ends at {end}")
        try:
            result.append(text[begin:end].decode("utf-8"))
        except UnicodeDecodeError as error:
            raise Malformed(f"{where}: not UTF-8: {error}") from error
        begin = end
    check(begin == len(text), f"{where}: bytes left over")
    return result


class PackedModel:
    """A packed file, its structure checked. `data` is the whole file (bytes or mmap)."""

    def __init__(self, data):
        self.data = data
        self.read_header()
        self.read_sections()
        self.read_config()
        self.labels = self.strings(2)
        check(len(self.labels) == self.config["label_count"], "labels: not label_count names")
        self.read_products()
        self.read_tensors()
        self.check_model()
        self.read_tokenizer()
        self.vectors = self.read_vectors()

    def read_header(self):
        check(len(self.data) >= 64, "too short for a header")
        magic, self.version, self.numerics, self.section_count, header_size, file_size, table_sum, header_sum = (
            struct.unpack_from("<8sIIIIQQQ", self.data))
        check(magic == b"OCTOBERT", "not a packed octobert model")
        check(self.version == 1, f"format version {self.version}: this reader knows 1")
        check(header_size == 64, f"header_size {header_size}")
        check(file_size == len(self.data), f"file_size {file_size}, the file has {len(self.data)} bytes")
        check(self.data[48:64] == bytes(16), "reserved bytes are not zero")
        check(self.section_count <= 4096 and 64 + 64 * self.section_count <= len(self.data), "section_count")
        self.check_sum(self.data[:40], header_sum, "header")
        self.check_sum(self.data[64:64 + 64 * self.section_count], table_sum, "section table")

    @staticmethod
    def check_sum(data, expected, where):
        if xxhash is not None:
            check(xxhash.xxh3_64_intdigest(data) == expected, f"{where}: wrong checksum")

    def read_sections(self):
        self.sections = []
        for i in range(self.section_count):
            kind, flags, offset, size, checksum, name = struct.unpack_from("<IIQQQ32s", self.data, 64 + 64 * i)
            name = name_of(name, f"section {i}")
            check(flags in (0, 1), f"section '{name}': unknown flags {flags}")
            check(offset % 64 == 0, f"section '{name}': not aligned")
            check(offset + size <= len(self.data), f"section '{name}': lies outside the file")
            check(kind in SECTION_TYPES or not flags & 1, f"section '{name}': unknown required type {kind}")
            self.sections.append({"name": name, "type": kind, "required": bool(flags & 1), "offset": offset,
                                  "size": size, "checksum": f"{checksum:016x}"})
            self.check_sum(self.data[offset:offset + size], checksum, f"section '{name}'")
        end = 64 + 64 * self.section_count
        for s in sorted(self.sections, key=lambda s: (s["offset"], s["size"])):
            check(s["offset"] >= end, f"section '{s['name']}' overlaps another")
            check(not any(self.data[end:s["offset"]]), f"bytes before section '{s['name']}' are not zero")
            end = s["offset"] + s["size"]
        check(not any(self.data[end:]), "bytes after the last section are not zero")
        for kind, name in SECTION_TYPES.items():
            count = sum(s["type"] == kind for s in self.sections)
            check(count == 1 or (count == 0 and kind not in REQUIRED_TYPES) or kind == 6, f"{count} sections '{name}'")

    def section(self, kind):
        for s in self.sections:
            if s["type"] == kind:
                return self.data[s["offset"]:s["offset"] + s["size"]]
        return None

    def strings(self, kind):
        data = self.section(kind)
        return [] if data is None else strings_of(data, SECTION_TYPES[kind])

    def read_config(self):
        data = self.section(1)
        check(len(data) == 128, "config: not 128 bytes")
        *fields, eps, scheme = struct.unpack_from("<10IfI", data)
        self.config = dict(zip(CONFIG_FIELDS, fields), layer_norm_eps=eps, scheme="hybrid" if scheme == 6 else SCHEMES.get(scheme, scheme))
        c = self.config
        check(c["family"] == 0, f"config: family {c['family']}")
        for field, most in (("hidden_size", 65536), ("intermediate_size", 65536), ("vocab_size", 2**31 - 1),
                            ("max_positions", 65536), ("type_count", 2**31 - 1), ("label_count", 65536),
                            ("head_count", c["hidden_size"]), ("activation", 3)):
            check(1 <= c[field] <= most, f"config: {field} {c[field]}")
        check(c["hidden_size"] % c["head_count"] == 0, "config: hidden_size is not a multiple of head_count")
        check(0 <= eps < float("inf"), "config: layer_norm_eps")
        check(not any(data[48:]), "config: reserved bytes are not zero")

    def read_products(self):
        data, layers = self.section(5), self.config["layer_count"]
        check(len(data) == 16 * (6 * layers + 1), "products: wrong size")
        self.products, self.group_sizes = {}, {}
        for i, (scheme, group_size, *reserved) in enumerate(struct.iter_unpack("<4I", data)):
            name = "classifier" if i == 6 * layers else f"layer.{i // 6}.{PRODUCTS[i % 6]}"
            check(scheme in SCHEMES and not any(reserved), f"product '{name}': scheme {scheme}")
            check((scheme == 4) == (group_size > 0) and group_size % 8 == 0, f"product '{name}': group_size {group_size}")
            self.products[name], self.group_sizes[name] = SCHEMES[scheme], group_size
        for layer in range(layers):
            pair = {self.products[f"layer.{layer}.scores"], self.products[f"layer.{layer}.context"]}
            check(pair in ({"float"}, {"dynamic"}, {"static"}), f"layer.{layer}: scores and context")

    def read_tensors(self):
        data = self.section(4)
        check(len(data) % 112 == 0, "tensors: not a multiple of 112 bytes")
        self.tensors = {}
        for name, dtype, layout, section, rank, rows, columns, offset, size in struct.iter_unpack("<64s4I4Q", data):
            name = name_of(name, f"tensor {len(self.tensors)}")
            where = f"tensor '{name}'"
            check(name not in self.tensors, f"{where}: twice")
            check(section < len(self.sections) and self.sections[section]["type"] == 6, f"{where}: section {section}")
            check(offset % 64 == 0 and offset + size <= self.sections[section]["size"], f"{where}: extent")
            check(rank == 2 or (rank == 1 and columns == 1), f"{where}: rank {rank}")
            check(rows > 0 and columns > 0, f"{where}: a dimension of 0")
            if dtype in DTYPES and layout in LAYOUTS:
                n = rows if layout == 0 else round_up(rows, 16)
                k = round_up(columns, {1: 4, 3: 8}.get(layout, 1))
                check((layout == 3) == (dtype in (3, 4)), f"{where}: layout {layout} of dtype {dtype}")
                check(size == n * k * DTYPES[dtype][2], f"{where}: size {size}")
            self.tensors[name] = {"dtype": DTYPES[dtype][0] if dtype in DTYPES else dtype,
                                  "layout": LAYOUTS.get(layout, layout), "dims": [rows, columns][:rank],
                                  "section": section, "offset": offset, "size": size}
        previous = None
        for name, t in sorted(self.tensors.items(), key=lambda item: (item[1]["section"], item[1]["offset"])):
            if previous and previous["section"] == t["section"]:
                check(previous["offset"] + previous["size"] <= t["offset"], f"tensor '{name}' overlaps another")
            previous = t

    def expect(self, name, dtype, layout, *dims):
        t = self.tensors.get(name)
        check(t is not None, f"no tensor '{name}'")
        found = (t["dtype"], t["layout"], (t["dims"] + [1])[:2])
        check(found == (dtype, layout, (list(dims) + [1])[:2]), f"tensor '{name}': {found}")

    def check_model(self):
        c = self.config
        d, f = c["hidden_size"], c["intermediate_size"]
        word = self.tensors.get("embeddings.word", {}).get("dtype")
        self.expect("embeddings.word", "i8" if word == "i8" else "f32", "row-major", c["vocab_size"], d)
        if word == "i8":
            self.expect("embeddings.word.scale", "f32", "row-major", c["vocab_size"])
        self.expect("embeddings.position", "f32", "row-major", c["max_positions"], d)
        self.expect("embeddings.type", "f32", "row-major", c["type_count"], d)
        norms, shapes = ["embeddings.norm"], {"classifier": (c["label_count"], d)}
        for layer in range(c["layer_count"]):
            norms += [f"layer.{layer}.attention_norm", f"layer.{layer}.ffn_norm"]
            shapes.update({f"layer.{layer}.qkv": (3 * d, d), f"layer.{layer}.attention_output": (d, d),
                           f"layer.{layer}.ffn1": (f, d), f"layer.{layer}.ffn2": (d, f)})
        for layer in range(c["layer_count"]):
            if self.products[f"layer.{layer}.scores"] == "static":
                self.expect(f"layer.{layer}.qkv.output_inv", "f32", "row-major", round_up(3 * d, 16))
                self.expect(f"layer.{layer}.scores.factor", "f32", "row-major", c["head_count"])
                self.expect(f"layer.{layer}.context.value_scale", "f32", "row-major", d)
        for norm in norms:
            self.expect(norm + ".gamma", "f32", "row-major", d)
            self.expect(norm + ".beta", "f32", "row-major", d)
        for name, (n, k) in shapes.items():
            padded = round_up(n, 16)
            self.expect(name + ".bias", "f32", "row-major", padded)
            scheme, group_size = self.products[name], self.group_sizes[name]
            if scheme == "float":
                self.expect(name + ".weight", "f32", "n16k1", n, k)
                continue
            if scheme == "weight-only-int4":
                self.expect(name + ".weight", "i4", "n16k8", n, k)
                self.expect(name + ".group_scale", "f32", "row-major", -(-k // group_size), padded)
                continue
            if scheme == "weight-only-codebook":
                self.expect(name + ".weight", "u4", "n16k8", n, k)
                self.expect(name + ".codebook", "f32", "row-major", 16)
                self.expect(name + ".scale", "f32", "row-major", padded)
                continue
            inv, parts = self.tensors.get(name + ".input_inv"), 1
            if scheme == "static" and name.endswith(".qkv") and d % 16 == 0 and inv and inv["dims"][1:] not in ([], [1]):
                parts = 3  # query, key and value each quantize the input in their own way
            if scheme == "static" or (scheme == "dynamic" and inv):
                self.expect(name + ".input_inv", "f32", "row-major", *([parts] if parts > 1 else []), round_up(k, 16))
            if scheme == "static":
                self.expect(name + ".input_zero", "i32", "row-major", parts)
                check(all(-127 <= row[0] <= 127 for row in self.tensor(name + ".input_zero")), f"{name}.input_zero")
            self.expect(name + ".weight", "i8", "n16k4", n, k)
            self.expect(name + ".scale", "f32", "row-major", padded)
            self.expect(name + ".sum", "i32", "row-major", padded)

    def tensor(self, name):
        """Rows of the tensor's values, unpacked."""
        check(name in self.tensors, f"no tensor '{name}'")
        t = self.tensors[name]
        rows, columns = (t["dims"] + [1])[:2]
        code = next((code for dtype, code, _ in DTYPES.values() if dtype == t["dtype"]), None)
        check(code is not None and t["layout"] in LAYOUTS.values(), f"tensor '{name}': unknown dtype or layout")
        begin = self.sections[t["section"]]["offset"] + t["offset"]
        values = memoryview(self.data[begin:begin + t["size"]]).cast("B").cast(code)
        if sys.byteorder != "little":
            values = struct.unpack(f"<{len(values)}{code}", values.tobytes())
        if t["layout"] == "n16k8":
            groups, sign = -(-columns // 8), 8 if t["dtype"] == "i4" else 0
            byte = lambda n, k: values[((n // 16 * groups + k // 8) * 16 + n % 16) * 4 + k % 8 // 2]
            return [[((byte(n, k) >> k % 2 * 4 & 15) ^ sign) - sign for k in range(columns)] for n in range(rows)]
        groups = -(-columns // 4)
        place = {"row-major": lambda n, k: n * columns + k,
                 "n16k4": lambda n, k: ((n // 16 * groups + k // 4) * 16 + n % 16) * 4 + k % 4,
                 "n16k1": lambda n, k: (n // 16 * columns + k) * 16 + n % 16}[t["layout"]]
        return [[values[place(n, k)] for k in range(columns)] for n in range(rows)]

    def read_tokenizer(self):
        data = self.section(3)
        check(len(data) >= 128, "tokenizer: too short")
        version, kind, size, unicode_tables, zero = struct.unpack_from("<IIQII", data)
        check((version, kind, zero) == (1, 1, 0), f"tokenizer: version {version}, kind {kind}")
        check(size == len(data), f"tokenizer: size {size}")
        flags, vocab_size, unk_id, max_word_chars, max_length = struct.unpack_from("<4IQ", data, 24)
        check(vocab_size <= self.config["vocab_size"], f"tokenizer: {vocab_size} ids")
        ends, characters, prefix = (struct.unpack_from("<II", data, 48 + 8 * i) for i in range(3))
        check(ends[1] == vocab_size and ends[0] + 4 * vocab_size <= size, "tokenizer: token_ends")
        check(characters[0] + characters[1] <= size and prefix[0] + prefix[1] <= size, "tokenizer: token_bytes")
        self.tokens, begin = [], 0
        for end in struct.unpack_from(f"<{vocab_size}I", data, ends[0]):
            check(begin <= end <= characters[1], "tokenizer: token_ends")
            self.tokens.append(data[characters[0] + begin:characters[0] + end].decode("utf-8", "replace"))
            begin = end
        self.tokenizer = {"flags": flags, "vocab_size": vocab_size, "unk_id": unk_id, "max_word_chars": max_word_chars,
                          "model_max_length": max_length, "unicode_tables": unicode_tables,
                          "prefix": data[prefix[0]:prefix[0] + prefix[1]].decode("utf-8", "replace")}

    def read_vectors(self):
        data, vectors, at = self.section(8), [], 4
        if data is None:
            return vectors
        check(len(data) >= 4, "test vectors: too short")
        for _ in range(struct.unpack_from("<I", data)[0]):
            check(at + 12 <= len(data), "test vectors: too short")
            text_bytes, tokens, labels = struct.unpack_from("<3I", data, at)
            at += 12
            end = at + round_up(text_bytes, 4) + 4 * tokens + 4 * tokens * labels
            check(labels == self.config["label_count"] and end <= len(data), "test vectors: lengths")
            text = data[at:at + text_bytes].decode("utf-8", "replace")
            at += round_up(text_bytes, 4)
            ids = struct.unpack_from(f"<{tokens}i", data, at)
            check(all(0 <= i < self.config["vocab_size"] for i in ids), "test vectors: ids")
            vectors.append({"text": text, "ids": list(ids),
                            "logits": list(struct.unpack_from(f"<{tokens * labels}f", data, at + 4 * tokens))})
            at = end
        check(at == len(data), "test vectors: bytes left over")
        return vectors

    def describe(self):
        pairs = self.strings(7)
        report = self.strings(9)
        return {"format_version": self.version, "numerics_version": self.numerics, "config": self.config,
                "labels": self.labels, "tokenizer": self.tokenizer, "products": self.products,
                "sections": self.sections, "tensors": self.tensors,
                "provenance": dict(zip(pairs[::2], pairs[1::2])), "report": dict(zip(report[::2], report[1::2])),
                "test_vectors": self.vectors}


def print_summary(model):
    print(f"format version {model.version}, numerics version {model.numerics}, {len(model.data)} bytes, checksums "
          + ("right" if xxhash else "not checked (python3-xxhash is not installed)"))
    print("config: " + ", ".join(f"{k} {v}" for k, v in model.config.items()))
    print("labels: " + " ".join(model.labels))
    print("tokenizer: " + ", ".join(f"{k} {v}" for k, v in model.tokenizer.items()))
    print(f"{len(model.vectors)} test vectors")
    print("\nsections")
    for s in model.sections:
        kind = SECTION_TYPES.get(s["type"], f"type {s['type']}")
        print(f"  {s['offset']:12} {s['size']:12} {s['checksum']} {'required' if s['required'] else 'optional'} "
              f"{kind:12} {s['name']}")
    print("\ntensors")
    for name, t in model.tensors.items():
        product = model.products.get(name.rpartition(".")[0], "") if name.endswith(".weight") else ""
        print(f"  {name:40} {t['dtype']:4} {t['layout']:10} {str(t['dims']):16} {t['size']:12} {product}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tensor", metavar="NAME", help="print this tensor's values")
    parser.add_argument("--json", action="store_true", help="print everything but the weights as JSON")
    arguments = parser.parse_args()
    try:
        with open(arguments.model, "rb") as file:
            try:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:  # an empty file
                data = b""
            model = PackedModel(data)
        if arguments.tensor:
            for row in model.tensor(arguments.tensor):
                print(" ".join(f"{value:.9g}" for value in row))
        elif arguments.json:
            json.dump(model.describe(), sys.stdout, indent=1)
            print()
        else:
            print_summary(model)
    except (Malformed, OSError) as error:
        print(f"read_octo.py: {arguments.model}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
