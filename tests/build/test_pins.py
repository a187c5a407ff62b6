"""Tests that nothing is installed or built but what is pinned in the repository."""

import base64
import hashlib
import re
import subprocess
import tempfile
import unittest
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = sorted(ROOT.glob("tests/*/requirements.txt")) + sorted(ROOT.glob("tests/*/*/requirements.txt"))
MAKEFILE = (ROOT / "Makefile").read_text()
PIP_FLAGS = re.search(r"^PIP_FLAGS := (.*)$", MAKEFILE, re.MULTILINE)[1].split()


def write_wheel(folder):
    """A package of nothing. Returns the wheel's SHA-256."""
    path = folder / "pinned-1.0-py3-none-any.whl"
    files = {"pinned.py": "", "pinned-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pinned\nVersion: 1.0\n",
             "pinned-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    record = "".join(f"{name},sha256={encoded(text)},{len(text)}\n" for name, text in files.items())
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, "pinned-1.0.dist-info/RECORD": record}.items():
            wheel.writestr(name, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def encoded(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


class Pins(unittest.TestCase):
    def test_each_package_of_each_list_has_a_version_and_hashes(self):
        self.assertGreaterEqual(len(LISTS), 7)
        for path in LISTS:
            entries = re.split(r"\n(?=\S)", path.read_text().strip())
            for entry in entries:
                if not entry.startswith("#"):
                    self.assertRegex(entry, r"\A[\w.-]+(\[[\w,-]+\])?==[^\s;]+( ; .+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\Z", path)

    def test_pip_refuses_a_file_with_another_hash_and_a_package_without_one(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            pinned = write_wheel(folder)
            for hashes, installs in [(f" --hash=sha256:{pinned}", True), (f" --hash=sha256:{'0' * 64}", False), ("", False)]:
                (folder / "requirements.txt").write_text(f"pinned==1.0{hashes}\n")
                command = ["python3", "-m", "pip", "install", *PIP_FLAGS, "--isolated", "--no-index", "--find-links", folder,
                           "--target", folder / "installed", "--requirement", folder / "requirements.txt"]
                done = subprocess.run(command, capture_output=True, text=True)
                self.assertEqual(done.returncode == 0, installs, hashes + done.stdout + done.stderr)

    def test_the_makefile_installs_by_pip_with_these_flags_alone(self):
        for line in MAKEFILE.splitlines():
            if "pip install" in line:
                self.assertIn("pip install $(PIP_FLAGS) ", line)

    def test_cargo_takes_the_versions_of_cargo_lock(self):
        pages = ["Makefile", "CONTRIBUTING.md", "tests/e2e/faults/README.md", *(str(path) for path in ROOT.glob("docs/*.md"))]
        command = re.compile(r"\bcargo (?:lambda )?(?:build|test|run|clippy|doc|install|tree)\b.*|/cargo-deny .*|MUTANTS\) mutants .*")
        found = 0
        for page in pages:
            for used in command.findall((ROOT / page).read_text()):
                found += 1
                self.assertIn("--locked", used, page)
        self.assertGreater(found, 15)

    def test_security_names_what_is_taken_by_version_without_a_hash(self):
        installed = re.findall(r"cargo install .* (\S+)$", MAKEFILE, re.MULTILINE)
        # cargo-fuzz has no --locked. It builds with a copy of Cargo.lock, to which cargo adds what the targets alone need.
        fuzz = re.search(r"^\[dependencies\]\n((?:.+\n)+)", (ROOT / "fuzz/Cargo.toml").read_text(), re.MULTILINE)[1]
        fetched = dict(re.findall(r'^(\S+) = "(.*)"$', fuzz, re.MULTILINE))
        self.assertEqual((installed, list(fetched)), (["cargo-cyclonedx", "cargo-mutants"], ["libfuzzer-sys"]))
        self.assertRegex(fetched["libfuzzer-sys"], r"\A=[\d.]+\Z")
        security = (ROOT / "SECURITY.md").read_text()
        for name in [*installed, *fetched]:
            self.assertIn(name, security)


if __name__ == "__main__":
    unittest.main()
