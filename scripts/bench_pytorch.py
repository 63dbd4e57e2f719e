#!/usr/bin/env python3
"""otplan against PyTorch: the same networks, losses, batch, precision, Adam and EMA, on one machine in one run.

  scripts/bench_pytorch.py [--case PRESET:BATCH]... [--threads N] [--rounds N] [--otplan PATH] [--out FILE]
  scripts/bench_pytorch.py --case vector:256 --threads 1 --processor-time     # points in the plane

The two take turns (A-B-A-B): in every round each step is timed for PyTorch, then `otplan bench` runs. A
round's number is the median of its steps; the table shows the median over rounds and their least and most.
Networks come from src/train/presets.def and config.def through scripts/torch_model.py, whose outputs and
gradients tests/test_networks.c compares with otplan's. Steps draw their noise and end with Adam (PyTorch's
fused one) and, for the generator, EMA. The outer step is put together from the parts, on both sides alike:
k_transport transport steps and k_potential potential steps, every r1_every-th of them with R1.

Two PyTorch threads wait for each other at every operator, so other work on the machine hurts PyTorch more
than otplan, whose threads meet once a step: compare on a quiet machine only. With one thread there is no
waiting, and --processor-time compares what either side computes whatever else is running.

Needs PyTorch 2.4 or later.
"""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("transport", "potential", "potential_r1")
PRECISIONS = ("f32", "bf16")
DEVICES = ("cpu",)  # another device brings its own Rival


def read_config(preset, changes):
    """The defaults of config.def under the lines of a preset under `changes`, as text by key."""
    table = (ROOT / "src/train/config.def").read_text()
    row = re.compile(r'^(?:INT|REAL|FLAG|PICK|TEXT)\s*\("([^"]+)",\s*\w+,\s*("?)(.*?)\2,', re.M)
    values = {key.replace("-", "_"): value for key, _, value in row.findall(table)}
    presets = (ROOT / "src/train/presets.def").read_text()
    body = re.search(rf'PRESET\("{re.escape(preset)}",.*?\n((?:\s*".*\n?)+)', presets)
    if not body:
        sys.exit(f"bench_pytorch: src/train/presets.def has no preset {preset}")
    values["preset"] = preset
    for key, value in re.findall(r'"([\w-]+) = (.*?)\\n"', body[1]):
        values[key.replace("-", "_")] = value
    return {**values, **{key.replace("-", "_"): value for key, value in changes}}


def numbers(text):
    return [] if text == "none" else [int(n) for n in text.split(",")]


def make_arch(config):
    from torch_model import Arch

    vectors = config["preset"] == "vector"
    size = 1 if vectors else int(config["image_size"]) or 32
    on = {key: config[key] in ("true", "on") for key in ("condition_noise", "residual")}
    whole = "noise_features latent embedding patch width blocks potential_features potential_width".split()
    whole += ["potential_blocks", "potential_quadratic"]
    return Arch(
        size, size, int(config["channels"]) or (2 if vectors else 3), vectors, **on, **{key: int(config[key]) for key in whole},
        multipliers=numbers(config["multipliers"]), attention=numbers(config["attention"]),
        filter=config["resample"], potential_multipliers=numbers(config["potential_multipliers"]),
    )  # fmt: skip


class CpuRival:
    """PyTorch on the CPU: eager, channels_last, bf16 by autocast. Its compiler has no double backward."""

    name = "PyTorch, eager, channels_last"

    def __init__(self, config, batch, precision):
        import torch
        import torch_model as model

        self.torch, self.model = torch, model
        self.a, self.precision = make_arch(config), precision
        self.o = model.Objective(tau=float(config["tau"]), batch=batch)
        torch.manual_seed(1)
        self.t = model.transport_network(self.a).to(memory_format=torch.channels_last)
        self.v = model.potential_network(self.a).to(memory_format=torch.channels_last)
        betas = float(config["beta1"]), float(config["beta2"])
        self.adam_t, self.adam_v = (
            torch.optim.Adam(n.parameters(), lr=1e-5, betas=betas, fused=True) for n in (self.t, self.v)
        )
        self.ema = [p.detach().clone() for p in self.t.parameters()]
        shape = (batch, self.a.c) if self.a.vectors else (batch, self.a.c, self.a.h, self.a.w)
        self.x, self.y = (self._channels_last(2 * torch.rand(shape) - 1) for _ in range(2))

    def _channels_last(self, x):
        return x if self.a.vectors else x.contiguous(memory_format=self.torch.channels_last)

    def _draw(self):
        eps = self.torch.randn_like(self.x)
        return eps, self.torch.randn(len(self.x), self.a.latent) if self.a.latent else None

    def _autocast(self):
        return self.torch.autocast("cpu", self.torch.bfloat16, enabled=self.precision == "bf16")

    def transport(self):
        eps, z = self._draw()
        self.v.requires_grad_(False)
        with self._autocast():
            loss, _ = self.model.transport_loss(self.o, self.t, self.v, self.x, eps, z, 1, 0.1)
        loss.backward()
        self.v.requires_grad_(True)
        self._update(self.adam_t)
        with self.torch.no_grad():
            self.torch._foreach_lerp_(self.ema, list(self.t.parameters()), 0.01)

    def potential(self, r1=0):
        eps, z = self._draw()
        with self._autocast():
            total, _ = self.model.potential_loss(self.o, self.t, self.v, self.x, self.y, eps, z, 1, 0.1, r1)
        total.backward()
        self._update(self.adam_v)

    def potential_r1(self):
        self.potential(1e-3)

    def _update(self, adam):
        adam.step()
        adam.zero_grad(set_to_none=True)

    def measure(self, seconds, clock):
        """Milliseconds by part: medians over as many steps as fit, three at least."""
        result = {}
        for part in PARTS:
            step, times = getattr(self, part), []
            step()
            while len(times) < 3 or sum(times) < seconds:
                start = clock()
                step()
                times.append(clock() - start)
            result[part] = 1e3 * statistics.median(times)
        return result


def measure_otplan(case, precision, options):
    preset, batch = case
    command = [options.otplan, "bench", "--preset", preset, "--batch", str(batch), "--threads", str(options.threads)]
    command += ["--precision", precision, "--device", options.device, "--json"]
    command += ["--processor-time"] * options.processor_time
    for key, value in options.set:
        command += [f"--{key}", value]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench_pytorch: {' '.join(command)}: {done.stderr.strip()}")
    said = json.loads(done.stdout)
    return {part: said[f"{part}_ms"] for part in PARTS}


def add_outer_step(parts, config):
    lazy = 1 / int(config["r1_every"]) if float(config["r1"]) > 0 else 0
    potential = lazy * parts["potential_r1"] + (1 - lazy) * parts["potential"]
    outer = int(config["k_transport"]) * parts["transport"] + int(config["k_potential"]) * potential
    return {**parts, "outer_step": outer}


def compare(case, precision, options):
    preset, batch = case
    config = read_config(preset, options.set)
    rival = CpuRival(config, batch, precision)
    clock = time.process_time if options.processor_time else time.perf_counter
    rounds = {"pytorch": [], "otplan": []}
    for _ in range(options.rounds):
        rounds["pytorch"].append(add_outer_step(rival.measure(options.seconds, clock), config))
        time.sleep(0.5)  # until PyTorch's idle threads have stopped spinning
        ours = measure_otplan(case, precision, options)
        rounds["otplan"].append(add_outer_step(ours, config))
    rows = []
    for part in (*PARTS, "outer_step"):
        row = {"preset": preset, "batch": batch, "precision": precision, "part": part, "rival": rival.name}
        row.update(options.set)
        for system, results in rounds.items():
            values = [r[part] for r in results]
            row[system] = {"median_ms": statistics.median(values), "least_ms": min(values), "most_ms": max(values)}
        row["speedup"] = row["pytorch"]["median_ms"] / row["otplan"]["median_ms"]
        rows.append(row)
    return rows


def describe_machine(options):
    import torch

    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.*)", info.read_text()) if info.exists() else None
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "cpu": found[1] if found else cpu, "cores": os.cpu_count(), "load_average": os.getloadavg()[0],
        "threads": options.threads, "rounds": options.rounds,
        "clock": "processor" if options.processor_time else "wall", "pytorch": torch.__version__,
        "mkldnn": torch.backends.mkldnn.is_available(), "otplan": commit.stdout.strip(),
    }  # fmt: skip


def print_rows(rows):
    for row in rows:
        cells = ["{median_ms:10.2f} ({least_ms:.2f} to {most_ms:.2f})".format(**row[s]) for s in ("pytorch", "otplan")]
        name = f"{row['preset']} x{row['batch']} {row['precision']} {row['part']}"
        print(f"{name:34s} {cells[0]:34s} {cells[1]:34s} {row['speedup']:6.2f}", flush=True)


def parse_case(text):
    preset, _, batch = text.partition(":")
    if not batch.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}', expected PRESET:BATCH, e.g. quickstart:32")
    return preset, int(batch)


def parse_setting(text):
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}', expected KEY=VALUE, e.g. width=64")
    return key, value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", type=parse_case, help="PRESET:BATCH; default quickstart:32 and 64:4")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="default both")
    parser.add_argument("--set", action="append", type=parse_setting, default=[], help="another value of an option of train")
    parser.add_argument("--processor-time", action="store_true", help="of the process, instead of wall clock")
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="of PyTorch, for each part and round")
    parser.add_argument("--otplan", default=str(ROOT / "build/otplan"), help="the program")
    parser.add_argument("--out", help="JSON file")
    options = parser.parse_args()
    if options.processor_time and options.threads != 1:
        parser.error("--processor-time is for --threads 1: waiting threads spend it too")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # before PyTorch is loaded
    sys.path.insert(0, str(ROOT / "scripts"))
    import torch

    torch.set_num_threads(options.threads)
    machine, rows = describe_machine(options), []
    print("{cpu}, {threads} of {cores} cores, load {load_average:.2f}; PyTorch {pytorch}, otplan {otplan}".format(**machine))
    if machine["load_average"] > 0.5 and not options.processor_time:
        print("bench_pytorch: the machine is busy with other work: these numbers are not to be kept", file=sys.stderr)
    print(f"{'milliseconds':34s} {'   PyTorch':34s} {'   otplan':34s} PyTorch/otplan")
    for case in options.case or [("quickstart", 32), ("64", 4)]:
        for precision in options.precision or PRECISIONS:
            rows += compare(case, precision, options)
            print_rows(rows[-len(PARTS) - 1 :])
    if options.out:
        Path(options.out).write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
