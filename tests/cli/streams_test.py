"""Streams: answers as they come, closed pipes, full disks, terminals, large and endless texts."""

import json
import os
import pty
import subprocess
import unittest

from common import EXIT_OUTPUT_CLOSED, NER, OCTOBERT, SENTENCE, TINY, TINY_CHECKPOINT, Case, environment


class Streaming(Case):
    def test_line_in_line_out(self):
        """Each answer comes while the input is still open."""
        for command in (["run", TINY, "--json"], ["run", TINY], ["tokenize", TINY], ["run", TINY, "--words"]):
            with subprocess.Popen([OCTOBERT, *map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  env=environment()) as process:
                for text in (b"one", b"two words", b"", b"four"):
                    process.stdin.write(text + b"\n")
                    process.stdin.flush()
                    self.assertTrue(process.stdout.readline().endswith(b"\n"))
                    if "--words" in command:
                        for _ in text.split():
                            process.stdout.readline()
                process.stdin.write(b"no line break")
                process.stdin.close()
                self.assertNotEqual(process.stdout.readline(), b"")
                self.assertEqual(process.wait(60), 0)

    def test_half_a_line_waits_for_its_end_and_does_not_hold_up_the_one_before(self):
        with subprocess.Popen([OCTOBERT, "run", str(TINY), "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              env=environment()) as process:
            process.stdin.write(b"whole\nha")
            process.stdin.flush()
            self.assertEqual(json.loads(process.stdout.readline())["text"], "whole")
            process.stdin.write(b"lf\n")
            process.stdin.close()
            self.assertEqual(json.loads(process.stdout.readline())["text"], "half")
            self.assertEqual(process.wait(60), 0)

    def test_many_lines_stay_in_order(self):
        texts = [f"line {i} " + "x " * (i % 50) for i in range(3000)]
        results = self.json_lines("run", TINY, "--json", stdin="\n".join(texts))
        self.assertEqual([r["text"] for r in results], texts)


class Outputs(Case):
    def test_reader_that_goes_away(self):
        lines = b"some text\n" * 20000
        for command in (["run", TINY, "--json"], ["tokenize", TINY]):
            source = self.write("lines", lines)
            with subprocess.Popen([OCTOBERT, *map(str, command), "--file", str(source)], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env=environment()) as process:
                process.stdout.readline()
                process.stdout.close()
                self.assertEqual(process.stderr.read(), b"")
                self.assertEqual(process.wait(120), EXIT_OUTPUT_CLOSED)

    def test_full_disk(self):
        for command in (["run", TINY, "x"], ["tokenize", TINY, "x"], ["info"], ["inspect", TINY], ["--help"],
                        ["verify", TINY], ["bench", TINY, "--seconds", "0"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([OCTOBERT, *map(str, command)], stdout=full, stderr=subprocess.PIPE,
                                      env=environment(), check=False)
            self.check_end(done.returncode, done.stderr, 1, command)
            self.assertIn(b"No space left", done.stderr)

    def test_closed_standard_streams(self):
        model = str(self.folder / "m.octo")
        done = subprocess.run(["sh", "-c", '"$0" run "$1" x >&-', OCTOBERT, str(TINY)], stderr=subprocess.PIPE,
                              env=environment(), check=False)
        self.check_end(done.returncode, done.stderr, 1)
        self.assertIn(b"standard output", done.stderr)
        # The file being written must not become standard output, and get the summary.
        subprocess.run(["sh", "-c", '"$0" convert "$1" -o "$2" >&- 2>&- <&-', OCTOBERT, str(TINY_CHECKPOINT), model],
                       env=environment(), check=False)
        self.run_command("verify", model)
        done = subprocess.run(["sh", "-c", '"$0" run "$1" --json <&-', OCTOBERT, str(TINY)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=environment(), check=False)
        self.check_end(done.returncode, done.stderr, 0)


def on_terminal(arguments, **changes):
    """Exit status and everything that the command writes to a terminal."""
    env = environment(**{"TERM": "xterm-256color", **changes})
    pid, master = pty.fork()
    if pid == 0:
        os.execve(OCTOBERT, [OCTOBERT, *map(str, arguments)], env)
    output = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not chunk:
            break
        output += chunk
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.replace(b"\r\n", b"\n")


class Terminal(Case):
    def test_colour(self):
        status, output = on_terminal(["run", NER, SENTENCE])
        self.assertEqual(status, 0)
        self.assertIn(b"m Angela Merkel \x1b[1mPER \x1b[0m met ", output)
        for changes in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            status, output = on_terminal(["run", NER, SENTENCE], **changes)
            self.assertEqual((status, output.startswith(b"[Angela Merkel PER] met ")), (0, True))
        self.assertNotIn(b"\x1b", self.run_command("run", NER, SENTENCE).stdout)

    def test_a_text_cannot_send_escapes_to_the_terminal(self):
        text = "a\x1b]0;title\x07b \x9b31m Berlin\x7f"
        _, output = on_terminal(["run", NER, text], NO_COLOR="1")
        self.assertNotRegex(output, b"[\x1b\x07\x7f]|\xc2\x9b")
        self.assertIn(b"^[]0;title^Gb", output)

    def test_progress(self):
        out = self.folder / "m.octo"
        _, output = on_terminal(["convert", TINY_CHECKPOINT, "-o", out])
        self.assertIn(b"\r\x1b[K", output)
        _, output = on_terminal(["convert", TINY_CHECKPOINT, "-o", out, "--quiet"])
        self.assertEqual(output, b"")
        done = self.run_command("convert", TINY_CHECKPOINT, "-o", out)
        self.assertNotIn(b"\x1b", done.stderr + done.stdout)
        self.assertRegex(done.stderr, rb"(\d+) of \1")
        self.assertRegex(done.stdout.decode(), r"agreement with the float model: \d")
        done = self.run_command("convert", TINY_CHECKPOINT, "-o", out, "--quiet")
        self.assertEqual(done.stderr + done.stdout, b"")


class Large(Case):
    def test_endless_word(self):
        text = "x" * 10_000_000
        (result,) = self.json_lines("run", TINY, "--json", stdin=text)
        self.assertEqual(result["text"], text)

    def test_ten_megabytes_in_one_line(self):
        text = ("Angela Merkel met Tim Cook in Berlin. " * 263158)[:10_000_000]
        (result,) = self.json_lines("run", TINY, "--json", stdin=text)
        self.assertEqual((len(result["text"]), result["truncated"]), (10_000_000, False))

    def test_ten_megabytes_of_nothing(self):
        for text in (b"\0" * 10_000_000, b" " * 10_000_000, b"\xff" * 10_000_000):
            (result,) = self.json_lines("run", TINY, "--json", stdin=text)
            self.assertEqual(len(result["text"]), 10_000_000)


if __name__ == "__main__":
    unittest.main()
