"""trial: small runs of otplan under tests/cli/fault.c, for check_crash, check_faults and check_disk_full.

Owns the inputs (made by tests/cli/probe.c), the commands that are tried, and how a run is judged.
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# The smallest networks that are still of every part.
VECTORS = "--preset vector --width 8 --blocks 1 --potential-width 8 --potential-blocks 1 --batch 8".split()
IMAGES = ("--preset quickstart --width 8 --multipliers 1,1 --potential-width 8 --potential-multipliers 1,2 "
          "--batch 4").split()
# What is trained on: networks, source, target.
KINDS = {
    "pictures": (IMAGES, "pictures", "pictures?brightness=0.5"),
    "vectors": (VECTORS, "a.npy", "b.npy"),
    "hdf5": (IMAGES, "images.h5", "images.h5?brightness=0.5"),
}
SHORT_OF_TIME = 60  # seconds after which a command hangs, in a check whose commands take less than one


class Failure(Exception):
    """Something was not as promised."""


class Outcome:
    """How a command ended: exit code, output, the calls that were struck, and how often the call was met."""

    def __init__(self, code, out, err, struck):
        self.code, self.out, self.err = code, out, err
        self.struck = [line for line in struck if not line.startswith("met ")]
        self.met = max([int(line[4:]) for line in struck if line.startswith("met ")], default=0)


class Bench:
    """A build and a temporary folder, whose folder `in` holds the inputs."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.otplan, self.probe = self.build / "otplan", self.build / "tests/otplan_probe"
        self.fault = self.build / "tests/libotplan_fault.so"
        for each in (self.otplan, self.probe, self.fault):
            if not each.exists():
                sys.exit(f"{each} is missing: scripts/build makes it")
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="otplan-trial-")).resolve()
        # A build in the meantime changes nothing.
        (self.work / "bin").mkdir()
        for name in ("otplan", "probe", "fault"):
            setattr(self, name, shutil.copy2(getattr(self, name), self.work / "bin"))

    def __enter__(self):
        self.make_inputs()
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.work, ignore_errors=True)

    def ask(self, *words):
        done = subprocess.run([self.probe, *map(str, words)], cwd=self.work, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"probe {' '.join(map(str, words))}: {done.stdout.strip()}")

    def make_inputs(self):
        (self.work / "in/pictures").mkdir(parents=True)
        for i in range(3):
            self.ask("png", f"in/pictures/{i}.png", 16, 16, 1, i)
        self.ask("zip", "in/pictures.zip", *[f"in/pictures/{i}.png" for i in range(3)])
        self.ask("vectors", "in/a.npy", 53, 3)
        self.ask("vectors", "in/b.npy", 31, 3)
        self.ask("images", "in/images.h5", 5, 16, 16, 1)
        self.ask("images", "in/images.npz", 5, 16, 16, 1)

    def start(self, words, fault=None):
        """A command, in the folder; `fault`: CALL:N:HOW:PART, PART within the folder."""
        struck = self.work / "struck"
        struck.unlink(missing_ok=True)
        environment = dict(os.environ, OMP_WAIT_POLICY="passive")
        if fault:
            # The sanitizers of a build that has them would refuse to come second.
            environment.update(LD_PRELOAD=str(self.fault), OTP_FAULT=fault, OTP_STRUCK=str(struck),
                               ASAN_OPTIONS="verify_asan_link_order=0")
        with open(self.work / "out", "w") as out, open(self.work / "err", "w") as err:
            return subprocess.Popen([self.otplan, *map(str, words)], cwd=self.work, stdin=subprocess.DEVNULL,
                                    stdout=out, stderr=err, env=environment)

    def end(self, process, limit=SHORT_OF_TIME):
        try:
            code = process.wait(limit * 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failure("hangs")
        struck = self.work / "struck"
        return Outcome(code, (self.work / "out").read_text(), (self.work / "err").read_text(errors="replace"),
                       struck.read_text().splitlines() if struck.exists() else [])

    def run(self, words, fault=None):
        return self.end(self.start(words, fault))

    def does(self, *words):
        """A command without a fault, which has to succeed."""
        outcome = self.run(words)
        if outcome.code:
            raise Failure(f"otplan {' '.join(map(str, words))}: exit code {outcome.code}: {outcome.err}")
        return outcome

    def train(self, kind, steps, out, *more):
        networks, source, target = KINDS[kind]
        return ["train", *networks, "--source", f"in/{source}", "--target", f"in/{target}", "--threads", 1,
                "--parts", 2, "--steps", steps, "--snapshot-every", 2, "--sample-every", steps, "--log-every", 1,
                "--keep", 2, "--out", out, *more]

    def go_on(self, command, out):
        """Ends the training of `command`, whatever became of it so far; damage is no way to go on."""
        there = (self.work / out / "config.ini").exists()
        outcome = self.does(*(["train", "--resume", "--out", out] if there else command))
        for word in ("passed over", "written anew", "damaged"):
            if word in outcome.err:
                raise Failure(f"a file was damaged: {outcome.err}")
        return outcome

    def equal_runs(self, a, b, steps):
        """Bit for bit: the state of the last checkpoint, the model, the last picture."""
        last = f"checkpoints/step-{steps:07d}.h5"
        self.ask("state", f"{a}/{last}", f"{b}/{last}")
        for name in ("model.h5", f"samples/step-{steps:07d}.png"):
            if (self.work / a / name).read_bytes() != (self.work / b / name).read_bytes():
                raise Failure(f"{b}/{name} has other bytes")
        left = [str(p) for p in (self.work / b).rglob("*.tmp-*")]
        if left:
            raise Failure(f"left behind: {left}")

    def clear(self, *names):
        for name in names:
            path = self.work / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def contents(self, *names):
        """All files below these: relative path to bytes."""
        found = {}
        for name in names:
            top = self.work / name
            for path in [top] if top.is_file() else sorted(top.rglob("*")) if top.exists() else []:
                if path.is_file():
                    found[str(path.relative_to(self.work))] = path.read_bytes()
        return found


def sample(count, most):
    """All of 1..count, or `most` of them, evenly, both ends included."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(i * (count - 1) / (most - 1)) for i in range(most)})


def options(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", default=ROOT / "build", help="where otplan was built (default: build)")
    parser.add_argument("--short", action="store_true", help="half a minute, for continuous integration")
    return parser


def show(text):
    print(text, flush=True)
