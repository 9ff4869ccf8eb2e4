"""Whether it is found what a program needs of a machine, on programs that are really there."""

import importlib.machinery
import importlib.util
import os
import pathlib
import subprocess
import sys
import unittest

from harness import OPS, ROOT

FILE = OPS / "linkage"
loader = importlib.machinery.SourceFileLoader("linkage", str(FILE))
linkage = importlib.util.module_from_spec(importlib.util.spec_from_loader("linkage", loader))
sys.dont_write_bytecode = True
loader.exec_module(linkage)


def theatre():
    """The program, where it is built; else Python, which needs more than glibc, too."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    named = os.environ.get("THEATRE_BIN")
    built = [pathlib.Path(named)] if named else [target / "debug/theatre"]
    return next((path for path in built if path.is_file()), pathlib.Path("/bin/ls"))


def check(*words):
    return subprocess.run([FILE, *words], capture_output=True, text=True)


class Programs(unittest.TestCase):
    def setUp(self):
        self.program = theatre()
        self.others = [
            name
            for name in linkage.libraries(self.program)
            if not linkage.COMMON.fullmatch(name)
        ]
        self.allowed = [word for name in self.others for word in ("--library", name)]
        self.newest = linkage.versions(self.program)[-1]

    def test_its_own_needs_are_granted_and_no_fewer(self):
        done = check(self.program, "--glibc", self.newest, *self.allowed)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("libc.so.6", done.stdout)
        self.assertIn(f"glibc {self.newest}", done.stdout)
        # The dynamic build links OpenSSL, and `ls` has a library for labels.
        self.assertTrue(self.others, done.stdout)
        for name in self.others:
            fewer = [word for one in self.others if one != name for word in ("--library", one)]
            done = check(self.program, *fewer)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn(name, done.stderr)

    def test_a_later_glibc_than_is_promised_is_found(self):
        done = check(self.program, "--glibc", "2.2", *self.allowed)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn(f"it needs glibc {self.newest}, and 2.2 is what is promised", done.stderr)

    def test_what_is_no_program_is_no_good_news(self):
        done = check(ROOT / "README.md")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("Not an ELF file", done.stderr)


class Faults(unittest.TestCase):
    def test_versions_are_compared_as_numbers(self):
        names = ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-aarch64.so.1"]
        self.assertEqual(linkage.faults(names, ["2.9", "2.34"], [], "2.34"), [])
        self.assertEqual(len(linkage.faults(names, ["2.9", "2.35"], [], "2.34")), 1)
        self.assertEqual(linkage.faults(names, ["2.9"], [], "2.34"), [])

    def test_a_program_of_another_libc_is_named(self):
        (found,) = linkage.faults([], [], [], "2.34")
        self.assertIn("static", found)


if __name__ == "__main__":
    unittest.main()
