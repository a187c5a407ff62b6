"""Tests of make_zips.py, which zips the functions for this machine."""

import subprocess
import tempfile
import unittest
import zipfile
from pathlib import Path

SCRIPT = Path(__file__).with_name("make_zips.py")


class Zip(unittest.TestCase):
    def test_a_zip_holds_the_binary_as_it_is_now_and_is_written_only_if_it_does_not(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            zipped = folder / "target/lambda/exporter/bootstrap.zip"
            for content in ["first", "second", "second"]:
                (folder / "exporter").write_text(content)
                (folder / "exporter").chmod(0o755)
                before = zipped.stat().st_mtime_ns if content == "second" else None
                subprocess.run(["python3", SCRIPT, folder, "exporter"], cwd=folder, check=True)
                with zipfile.ZipFile(zipped) as archive:
                    [entry] = archive.infolist()
                    self.assertEqual((entry.filename, archive.read(entry)), ("bootstrap", content.encode()))
                    self.assertEqual(entry.external_attr >> 16 & 0o777, 0o755)
            self.assertEqual(zipped.stat().st_mtime_ns, before)


if __name__ == "__main__":
    unittest.main()
