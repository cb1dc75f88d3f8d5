"""What the black-box tests of the command share. Standard library only."""

import hashlib
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OCTOBERT = os.environ["OCTOBERT_BIN"]
MODELS = pathlib.Path(os.environ["OCTOBERT_TEST_MODELS"])  # made by make_models.py

TINY = MODELS / "tiny.octo"            # seeded random weights: quick, says nothing sensible
TINY_CHECKPOINT = MODELS / "tiny"
NER = MODELS / "minilm-ner.octo"       # the bundled model: real entities
NER_CHECKPOINT = ROOT / "models" / "minilm-ner"
SENTENCE = "Angela Merkel met Tim Cook at Apple's headquarters in Cupertino."

EXIT_OK, EXIT_FAILURE, EXIT_USAGE, EXIT_BAR_NOT_MET, EXIT_OUTPUT_CLOSED = 0, 1, 2, 3, 141
CRASH_MARKS = (b"AddressSanitizer", b"runtime error:", b"ThreadSanitizer", b"terminate called", b"Segmentation",
               b"Assertion", b"std::", b"what():")


def environment(**changes):
    env = {k: v for k, v in os.environ.items() if k not in ("OCTOBERT_ISA", "NO_COLOR")}
    env.update({k: v for k, v in changes.items() if v is not None})
    return env


class Case(unittest.TestCase):
    """A test case with a folder of its own and ways to run the command."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_command(self, *arguments, stdin=b"", expect=EXIT_OK, env=None, **more):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        done = subprocess.run([OCTOBERT, *map(str, arguments)], input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=600, env=env or environment(), check=False, **more)
        self.check_end(done.returncode, done.stderr, expect, arguments)
        return done

    def check_end(self, returncode, stderr, expect, arguments=()):
        """The expected exit status, and neither a crash nor its traces."""
        for mark in CRASH_MARKS:
            self.assertNotIn(mark, stderr, f"{arguments}")
        command = " ".join(map(str, arguments))[:300]
        self.assertEqual(returncode, expect, f"octobert {command}\n{stderr.decode(errors='replace')[:3000]}")

    def fails(self, *arguments, says=(), status=EXIT_FAILURE, **more):
        """Fails with this status, prints nothing on standard output, and names all of `says` on standard error."""
        done = self.run_command(*arguments, expect=status, **more)
        self.assertEqual(done.stdout, b"")
        error = done.stderr.decode(errors="replace")
        if status != EXIT_USAGE:
            self.assertTrue(error.startswith("octobert: "), error)
        for word in [says] if isinstance(says, str) else says:
            self.assertIn(word, error)
        return error

    def json_lines(self, *arguments, **more):
        return [json.loads(line) for line in self.run_command(*arguments, **more).stdout.decode().splitlines()]

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def read_safetensors(path):
    """name -> (dtype, shape, bytes)"""
    data = pathlib.Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    base = 8 + size
    return {name: (t["dtype"], t["shape"], data[base + t["data_offsets"][0]:base + t["data_offsets"][1]])
            for name, t in header.items()}


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
