"""Zips the binaries of functions, as target/lambda/FUNCTION/bootstrap.zip. Quickly, so not tightly.

usage: tests/build/make_zips.py FOLDER FUNCTION...
"""

import sys
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path


def holds(path, binary):
    """Whether a zip has this binary. It may have another one, also a newer one of `make package`."""
    if not path.exists():
        return False
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo("bootstrap").CRC == zlib.crc32(binary.read_bytes())


def write(function):
    binary, path = Path(folder, function), Path("target/lambda", function, "bootstrap.zip")
    if holds(path, binary):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(binary, "bootstrap")
    unfinished.replace(path)


folder, *functions = sys.argv[1:]
with ThreadPoolExecutor() as threads:
    list(threads.map(write, functions))
