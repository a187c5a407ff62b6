"""Checks the signature of every manifest in a folder, with `cryptography` alone: check_signatures.py <keys> <folder>."""

import base64
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

keys = {}
for name, key_id, encoded in (line.split("+", 2) for line in Path(sys.argv[1]).read_text().splitlines()):
    keys[name, bytes.fromhex(key_id)] = load_der_public_key(base64.b64decode(encoded)[1:])
manifests = sorted(Path(sys.argv[2]).rglob("*.manifest"))
for manifest in manifests:
    text, _, line = manifest.read_text(encoding="utf-8").partition("\n\n")
    dash, name, encoded = line.split()
    signature = base64.b64decode(encoded)
    keys[name, signature[:4]].verify(signature[4:], f"{text}\n".encode(), ECDSA(SHA256()))
print(len(manifests))
