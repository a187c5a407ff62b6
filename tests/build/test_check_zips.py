"""Tests of check_zips.py, on binaries made here."""

import struct
import tempfile
import unittest
import zipfile
from pathlib import Path

import check_zips


def elf(*versions, machine=62):
    """A binary without code that needs these symbol versions of one library."""
    names, offsets = b"\0libc.so.6\0", []
    for version in versions:
        offsets.append(len(names))
        names += version.encode() + b"\0"
    needs = struct.pack("<HHIII", 1, len(versions), 1, 16, 0)
    for index, offset in enumerate(offsets):
        needs += struct.pack("<IHHII", 0, 0, 2, offset, 16 if index + 1 < len(versions) else 0)
    needs_at, sections_at = 64 + len(names), 64 + len(names) + len(needs)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 0, sections_at, 0, 64, 0, 0, 64, 3, 0)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 64, len(names), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 0, check_zips.SHT_GNU_VERNEED, 0, 0, needs_at, len(needs), 1, 1, 4, 0)
    return header + names + needs + sections


class Zips(unittest.TestCase):
    def check(self, binary, names=("bootstrap",), mode=0o755, architecture="x86_64"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "bootstrap.zip")
            with zipfile.ZipFile(path, "w") as archive:
                for name in names:
                    entry = zipfile.ZipInfo(name)
                    entry.external_attr = (0o100000 | mode) << 16
                    archive.writestr(entry, binary)
            return check_zips.check(path, architecture)

    def test_a_binary_that_needs_the_runtimes_glibc_or_an_older_one_passes(self):
        # 2.5 is older than 2.34, and other libraries have versions of their own.
        self.assertIn("needs glibc 2.34", self.check(elf("GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.5", "GCC_4.2.0")))
        arm = elf("GLIBC_2.17", machine=183)
        self.assertIn("needs glibc 2.17", self.check(arm, architecture="arm64"))

    def test_what_lambda_cannot_run_is_refused_with_the_reason(self):
        good = elf("GLIBC_2.34")
        for reason, binary, arguments in [
            ("needs glibc 2.38", elf("GLIBC_2.34", "GLIBC_2.38", "GLIBC_2.4"), {}),
            ("needs glibc 3.0", elf("GLIBC_3.0"), {}),
            ("names no version of glibc", elf("GCC_4.2.0"), {}),
            ("not for arm64", good, {"architecture": "arm64"}),
            ("not a 64-bit ELF binary", b"#!/bin/sh\n", {}),
            ("not executable", good, {"mode": 0o644}),
            ("not bootstrap alone", good, {"names": ["exporter"]}),
            ("not bootstrap alone", good, {"names": ["bootstrap", "notes.txt"]}),
        ]:
            with self.subTest(reason), self.assertRaisesRegex(check_zips.Unusable, reason):
                self.check(binary, **arguments)
