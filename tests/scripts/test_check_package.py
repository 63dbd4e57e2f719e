"""scripts/check_package on the package of this build, and on copies of it that lack something.
   test_check_package.py PACKAGE"""
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECK = Path(__file__).resolve().parents[2] / "scripts/check_package"
PACKAGE = Path(sys.argv.pop()).resolve()


class TestCheckPackage(unittest.TestCase):
    def check(self, package, *words):
        done = subprocess.run([sys.executable, CHECK, *words, package], capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def copy(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return Path(shutil.copytree(PACKAGE, Path(folder.name) / "package", symlinks=True))

    def library(self, package, name):
        return next(file for file in (package / "lib/otplan").glob(f"{name}.so.*") if not file.is_symlink())

    def test_the_package_is_whole(self):
        code, said, complaints = self.check(PACKAGE)
        self.assertEqual((code, complaints), (0, ""))
        self.assertRegex(said, r"^\d+ programs and libraries, 0 complaints; needs glibc 2\.\d+$")
        print(said, end="")

    def test_a_missing_library(self):
        package = self.copy()
        for file in (package / "lib/otplan").glob("libzip.*"):
            file.unlink()
        code, _, complaints = self.check(package)
        self.assertEqual(code, 1)
        self.assertIn("bin/otplan needs libzip.so.", complaints)

    def test_a_program_that_does_not_look_beside_itself_and_does_not_start(self):
        package = self.copy()
        shutil.copy("/bin/false", package / "bin/otplan")
        code, _, complaints = self.check(package)
        self.assertEqual(code, 1)
        self.assertIn("bin/otplan has no RPATH", complaints)
        self.assertIn("bin/otplan --version: exit code 1", complaints)

    def test_a_library_without_the_versions_asked_for(self):
        package = self.copy()
        shutil.copy(self.library(package, "libz"), self.library(package, "libgomp"))
        code, _, complaints = self.check(package)
        self.assertEqual(code, 1)
        self.assertIn("asks libgomp.so.1 for GOMP_", complaints)

    def test_a_newer_glibc_than_allowed(self):
        code, _, complaints = self.check(PACKAGE, "--glibc", "2.5")
        self.assertEqual(code, 1)
        self.assertRegex(complaints, r"needs GLIBC_2\.\d+; allowed is 2\.5")

    def test_no_package(self):
        self.assertEqual(self.check("/nonexistent"), (2, "", "check_package: /nonexistent does not exist\n"))


if __name__ == "__main__":
    unittest.main()
