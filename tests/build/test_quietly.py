"""Tests of quietly, the script that runs installs."""

import subprocess
import unittest
from pathlib import Path

QUIETLY = Path(__file__).with_name("quietly")
ROOT = Path(__file__).parents[2]


def run(*command):
    done = subprocess.run([QUIETLY, *command], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


class Quietly(unittest.TestCase):
    def test_an_install_that_works_prints_nothing(self):
        self.assertEqual(run("bash", "-c", "echo progress; echo warning >&2"), (0, "", ""))

    def test_an_install_that_fails_prints_the_command_its_whole_output_and_what_to_check(self):
        status, printed, errors = run("bash", "-c", "echo fetching; echo SELF_SIGNED_CERT_IN_CHAIN >&2; exit 7", "a b")
        self.assertEqual((status, printed), (7, ""))
        for part in ["status 7", r"a\ b", "fetching\nSELF_SIGNED_CERT_IN_CHAIN\n", "NODE_EXTRA_CA_CERTS", "PIP_CERT"]:
            self.assertIn(part, errors)

    def test_a_command_that_is_not_there_is_named(self):
        status, _, errors = run("no-such-installer", "ci")
        self.assertEqual(status, 127)
        self.assertIn("no-such-installer ci", errors)

    def test_the_makefile_installs_through_it_alone(self):
        makefile = (ROOT / "Makefile").read_text()
        for line in makefile.splitlines():
            if any(install in line for install in ["npm ci", "pip install", "cargo install", "-m venv", "install.js "]):
                if not line.startswith(("#", "$(BROWSER)")):
                    self.assertIn("$(QUIETLY)", line)
        # npm would keep the reason of a failure to itself.
        self.assertNotRegex(makefile, r"npm .*--(silent|loglevel)")
