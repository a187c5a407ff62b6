"""Fails if a zip is not what Lambda can run. Prints each zip's size and the newest glibc that its binary needs.

A zip holds one executable file, `bootstrap`: an ELF binary of the given architecture. The runtime `provided.al2023` is
Amazon Linux 2023, which has glibc 2.34 ("Core toolchain packages glibc, gcc, binutils" in the Amazon Linux 2023 user guide).
A binary that needs a newer symbol doesn't start there, while it works on the machine that built it.

usage: tests/build/check_zips.py ARCHITECTURE ZIP...
"""

import re
import struct
import sys
import zipfile
from pathlib import Path

GLIBC = (2, 34)
# `e_machine` of each architecture's ELF binaries.
MACHINES = {"x86_64": 62, "arm64": 183}
SHT_GNU_VERNEED = 0x6FFFFFFE
# What Lambda takes directly, as `aws lambda update-function-code` sends it ("Lambda quotas" in the Lambda developer guide).
MAX_ZIP_BYTES = 50 << 20


class Unusable(Exception):
    """Why Lambda can't run a zip."""


def binary(path):
    """The content of the one file in a zip."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if [entry.filename for entry in entries] != ["bootstrap"]:
            raise Unusable(f"it holds {[entry.filename for entry in entries]}, not bootstrap alone")
        if not entries[0].external_attr >> 16 & 0o111:
            raise Unusable("bootstrap is not executable")
        return archive.read("bootstrap")


def needed_versions(elf):
    """The symbol versions that a 64-bit little-endian ELF binary needs, such as GLIBC_2.34."""
    (start,) = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, start + size * index) for index in range(count)]
    for _, kind, _, _, library, _, link, libraries, _, _ in sections:
        if kind != SHT_GNU_VERNEED:
            continue
        names = sections[link][4]
        for _ in range(libraries):
            _, versions, _, first, next_library = struct.unpack_from("<HHIII", elf, library)
            version = library + first
            for _ in range(versions):
                _, _, _, name, next_version = struct.unpack_from("<IHHII", elf, version)
                yield elf[names + name : elf.index(b"\0", names + name)].decode()
                version += next_version
            library += next_library


def newest_glibc(elf, architecture):
    """The newest glibc that a binary needs, as two numbers."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise Unusable("bootstrap is not a 64-bit ELF binary")
    (machine,) = struct.unpack_from("<H", elf, 0x12)
    if machine != MACHINES[architecture]:
        raise Unusable(f"bootstrap is built for the machine {machine}, not for {architecture} ({MACHINES[architecture]})")
    versions = [re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", version) for version in needed_versions(elf)]
    glibc = [(int(version[1]), int(version[2])) for version in versions if version]
    if not glibc:
        raise Unusable("bootstrap names no version of glibc, so this check can't judge it")
    if max(glibc) > GLIBC:
        raise Unusable(f"bootstrap needs glibc {max(glibc)[0]}.{max(glibc)[1]}, and the runtime has {GLIBC[0]}.{GLIBC[1]}")
    return max(glibc)


def check(path, architecture):
    """Returns a line about a zip. Raises `Unusable`."""
    size = Path(path).stat().st_size
    if size > MAX_ZIP_BYTES:
        raise Unusable(f"it has {size} bytes, and Lambda takes {MAX_ZIP_BYTES} directly")
    glibc = newest_glibc(binary(path), architecture)
    return f"{path}: {size / 1e6:.1f} MB, {architecture}, needs glibc {glibc[0]}.{glibc[1]}"


def main(architecture, *paths):
    faults = 0
    for path in paths:
        try:
            print(check(path, architecture))
        except Unusable as reason:
            print(f"{path}: {reason}", file=sys.stderr)
            faults += 1
    sys.exit(bool(faults))


if __name__ == "__main__":
    main(*sys.argv[1:])
