"""Tests of side_by_side, the script that runs the test programs."""

import json
import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

SIDE_BY_SIDE = Path(__file__).with_name("side_by_side")


class SideBySide(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def built(self, success=True, **programs):
        """What cargo prints after building test programs that are shell scripts, and another program."""
        messages = [{"reason": "compiler-artifact", "profile": {"test": False}, "executable": "/bin/false"}]
        for name, script in programs.items():
            path = self.folder / f"{name}.sh"
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
            messages.append({"reason": "compiler-artifact", "profile": {"test": True}, "executable": str(path),
                             "manifest_path": str(self.folder / "Cargo.toml"), "target": {"kind": ["test"], "name": name}})
        messages.append({"reason": "build-finished", "success": success})
        return "\n".join(map(json.dumps, messages))

    def start(self, *first, jobs="2"):
        return subprocess.Popen([SIDE_BY_SIDE, self.folder / "output", *first], env={**os.environ, "JOBS": jobs}, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run_all(self, built, *first, jobs="2"):
        started = self.start(*first, jobs=jobs)
        printed, _ = started.communicate(built, timeout=30)
        return started.returncode, printed

    def test_each_program_gets_a_line_and_the_output_of_those_that_failed_comes_at_the_end(self):
        good = "echo 'test result: ok. 7 passed'; touch $0.done"
        # It ends last.
        bad = "echo what went wrong >&2; until [ -e ${0%/*}/good.sh.done ]; do sleep 0.01; done; sleep 0.5; exit 101"
        status, printed = self.run_all(self.built(good=good, bad=bad))
        self.assertEqual(status, 1)
        self.assertRegex(printed, r"(?s)\A *\d+\.\d s  good: ok\. 7 passed\n *\d+\.\d s  bad: status 101\n\nbad failed:\nwhat went wrong\n")
        self.assertEqual((self.folder / "output/good").read_text(), "test result: ok. 7 passed\n")
        self.assertEqual(self.run_all(self.built(good=good))[0], 0)

    def test_programs_run_at_once_in_their_packages_folder_and_the_slowest_begin_first(self):
        # Each waits for the other.
        meet = "touch $0.here; until [ -e {}.sh.here ]; do sleep 0.01; done; pwd"
        self.assertEqual(self.run_all(self.built(one=meet.format("two"), two=meet.format("one")))[0], 0)
        self.assertEqual(Path((self.folder / "output/one").read_text().strip()).resolve(), self.folder.resolve())
        _, printed = self.run_all(self.built(a="true", b="true", c="true"), "c", "b", jobs="1")
        self.assertEqual([line.split()[2] for line in printed.splitlines()], ["c:", "b:", "a:"])

    def test_after_a_failed_build_nothing_runs(self):
        status, _ = self.run_all(self.built(success=False, one="true"))
        self.assertEqual((status, (self.folder / "output").exists()), (1, False))

    def test_an_interrupt_ends_the_programs(self):
        started = self.start()
        started.stdin.write(self.built(one="sleep 0.5; echo $$ > pid; exec sleep 60"))
        started.stdin.close()
        deadline = time.monotonic() + 30
        while not (self.folder / "pid").exists() or not (self.folder / "pid").read_text():
            self.assertLess(time.monotonic(), deadline, "the program does not begin")
            time.sleep(0.01)
        started.send_signal(signal.SIGINT)
        self.assertEqual(started.wait(timeout=30), 130)
        started.stdout.close()
        with self.assertRaises(ProcessLookupError):
            os.kill(int((self.folder / "pid").read_text()), 0)


if __name__ == "__main__":
    unittest.main()
