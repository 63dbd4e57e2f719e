#!/usr/bin/env python3
"""otplan against PyTorch: the same networks, losses, batch, precision, Adam and EMA, on one machine in one run.

  scripts/bench_pytorch.py --device cuda [--seconds N] [--case PRESET:BATCH]... [--variant NAME]... [--out FILE.json]
  scripts/bench_pytorch.py --case vector:256 --threads 1 --processor-time     # points in the plane

Correctness comes first (scripts/torch_check.py, on PyTorch's weights, batch and noise), then every variant of
PyTorch (scripts/torch_rival.py) is measured in turn with `otplan bench`, A-B-A-B. A round's number is a median;
the table has the median over rounds and their least and most. The outer step is put together from its parts on
both sides alike: k_transport transport steps and k_potential potential steps, every r1_every-th of them with
R1. The headline is against the fastest variant of each part, memory against the fastest
variant whose memory can be seen; torch.compile has no double backward, so its variants take their R1 step from the best without it.

Cases and variants come in the order of their importance. With --seconds the script ends by then: a variant
that would take too long (as long as in the case before, or by a guess) is skipped, and one that overruns is
ended. Results are written after each one, to FILE.json and a table beside it, FILE.md.

On the CPU two PyTorch threads wait for each other at every operator, so other work on the machine hurts
PyTorch more than otplan, whose threads meet once a step: compare on a quiet machine only. With one thread
there is no waiting, and --processor-time compares what either side computes whatever else is running.

Needs PyTorch 2.4 or later and numpy.
"""
import argparse
import ctypes
import json
import os
import platform
import re
import select
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
PARTS = ("transport", "potential", "potential_r1")
CASES = {
    "cuda": [("64", 64), ("64", 16), ("32", 64), ("128", 16), ("256", 8)],
    "cpu": [("quickstart", 32), ("64", 4)],
}
# By device, in the order in which they run, with a guess of the seconds that preparing takes.
VARIANTS = {
    "cuda": {
        "eager": 5, "eager_benchmark": 10, "graph": 10, "compile_default": 60, "compile_default_graph": 30,
        "compile_reduce_overhead": 30, "compile_max_autotune_graph": 240, "compile_max_autotune": 60,
    },
    "cpu": {"eager": 5, "compile_default": 60, "compile_max_autotune": 120},
}  # fmt: skip
CHEAP_S = 45  # kept for each later case: its check, and the variants that need no compiler


def die_with_parent():
    """Whoever ends this script, by SIGKILL too, ends what it started."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Lines:
    """A program that answers a line with a JSON object in a line."""

    def __init__(self, command):
        self.program = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        self.errors = []
        os.set_blocking(self.program.stderr.fileno(), False)

    def ask(self, line):
        self.program.stdin.write(line + "\n")
        self.program.stdin.flush()

    def answer(self, seconds):
        """The next object; {"error": ...} if the program ends or takes longer, and then it is ended."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            ready = select.select([self.program.stdout, self.program.stderr], [], [], left)[0]
            if self.program.stderr in ready:
                self.errors += (self.program.stderr.read() or "").splitlines()
                if self.program.poll() is None and self.program.stdout not in ready:
                    time.sleep(0.05)
            if self.program.stdout in ready:
                line = self.program.stdout.readline()
                if line:
                    return json.loads(line)
                self.close()
                return {"error": next((e for e in reversed(self.errors) if e.strip()), "ended without a word")}
        self.close()
        return {"error": f"ended after {seconds:.0f} s"}

    def request(self, line, seconds):
        try:
            self.ask(line)
        except OSError as error:
            return {"error": str(error)}
        return self.answer(seconds)

    def close(self):
        try:
            os.killpg(self.program.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.program.wait()


# ---- one case ----


def check(case, precision, options, seconds):
    """torch_check.py's verdict on gradients."""
    preset, batch = case
    command = [sys.executable, SCRIPTS / "torch_check.py", "gradients", "--preset", preset, "--batch", batch]
    command += ["--precision", precision, "--device", options.device, "--threads", options.threads]
    command += ["--repeats", options.repeats, "--replay", options.replay]
    for key, value in options.set:
        command += ["--set", f"{key}={value}"]
    try:
        done = subprocess.run([str(w) for w in command], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return {"error": f"ended after {seconds:.0f} s"}
    if done.stdout.startswith("{"):
        return json.loads(done.stdout)
    return {"error": (done.stderr.strip().splitlines() or ["no answer"])[-1][:300]}


def start_otplan(case, precision, options):
    preset, batch = case
    command = [options.otplan, "bench", "--preset", preset, "--batch", batch, "--threads", options.threads]
    command += ["--precision", precision, "--device", options.device, "--json", "--repeat"]
    command += ["--seconds", options.part_seconds, *["--processor-time"] * options.processor_time]
    for key, value in options.set:
        command += [f"--{key}", value]
    return Lines(command)


def start_rival(case, precision, options):
    command = [sys.executable, SCRIPTS / "torch_rival.py", options.replay, *case, precision, options.device, options.threads]
    command += ["processor" if options.processor_time else "wall", *(f"{key}={value}" for key, value in options.set)]
    rival = Lines(command)
    return rival, rival.answer(120)


def spread(values):
    return {"median_ms": statistics.median(values), "least_ms": min(values), "most_ms": max(values)}


def outer_step(parts, config):
    lazy = 1 / int(config["r1_every"]) if float(config["r1"]) > 0 else 0
    potential = lazy * parts["potential_r1"] + (1 - lazy) * parts["potential"]
    return int(config["k_transport"]) * parts["transport"] + int(config["k_potential"]) * potential


class Duel:
    """One case at one precision: PyTorch's process, ours, and what was found."""

    def __init__(self, case, precision, options, config, save):
        self.case, self.precision, self.options, self.config, self.save = case, precision, options, config, save
        self.ours, self.rival, self.otplan = {part: [] for part in PARTS}, None, None
        self.result = {"preset": case[0], "batch": case[1], "precision": precision, "set": options.set, "variants": {}}

    def run(self, deadline, needed):
        self.result["check"] = check(self.case, self.precision, self.options, max(20, deadline - time.monotonic()))
        self.save(self.result)
        self.rival, hello = start_rival(self.case, self.precision, self.options)
        self.result["pytorch"] = hello
        self.otplan = start_otplan(self.case, self.precision, self.options)
        # Plans are chosen, which takes a while where they are not cached; the first measurement is thrown away.
        self.result["otplan"] = self.otplan.answer(max(30, deadline - time.monotonic()))
        for variant in self.options.variant or VARIANTS[self.options.device]:
            self.try_variant(variant, deadline, needed)

    def close(self):
        for program in filter(None, (self.rival, self.otplan)):
            program.close()

    def try_variant(self, variant, deadline, needed):
        left = deadline - time.monotonic()
        if left < needed[variant]:
            self.result["variants"][variant] = {"error": "skipped: no time left"}
            return
        print(f"  {self.name()} {variant} ...", file=sys.stderr, flush=True)
        found = self.rival.request(f"prepare {variant}", left)
        if "error" not in found:
            needed[variant] = found["prepare_s"] + 5
            found.update(self.take_turns(found["parts"]))
        if "error" in found:  # a failed capture leaves a broken context behind
            self.rival.close()
            self.rival, _ = start_rival(self.case, self.precision, self.options)
        self.result["variants"][variant] = found
        self.summarise()
        self.save(self.result)

    def take_turns(self, parts):
        seconds, theirs = self.options.part_seconds, {part: [] for part in parts}
        for _ in range(self.options.rounds):
            turn = self.rival.request(f"measure {seconds}", self.patience())
            if "error" in turn:
                return turn
            for part in parts:
                theirs[part].append(turn[part])
            time.sleep(0 if self.options.device == "cuda" else 0.5)  # until PyTorch's idle threads stop spinning
            self.take_our_turn(seconds)
        return {part: spread(values) for part, values in theirs.items()}

    def patience(self):
        """Seconds: one step of a preset for GPUs takes ten of a CPU that is shared."""
        return (60 if self.options.device == "cuda" else 600) + 20 * self.options.part_seconds

    def take_our_turn(self, seconds):
        """PyTorch is measured too where otplan has failed."""
        if "error" in self.result["otplan"]:
            return
        ours = self.otplan.request("", self.patience())
        if "error" in ours:
            self.result["otplan"] = ours
            return
        for part in PARTS:
            self.ours[part].append(ours[f"{part}_ms"])

    def name(self):
        return f"{self.case[0]} x{self.case[1]} {self.precision}"

    def summarise(self):
        """Which variant is the fastest in each part and as a whole, and our ratio to it."""
        good = {name: v for name, v in self.result["variants"].items() if "error" not in v}
        if "error" in self.result["otplan"] or not all(any(part in v for v in good.values()) for part in PARTS):
            self.result.pop("summary", None)
            return
        best = {part: min((v[part]["median_ms"], name) for name, v in good.items() if part in v) for part in PARTS}
        whole = {
            name: outer_step({part: v.get(part, {"median_ms": best[part][0]})["median_ms"] for part in PARTS}, self.config)
            for name, v in good.items()
        }
        ours = {part: spread(values) for part, values in self.ours.items()}
        ours_outer = outer_step({part: ours[part]["median_ms"] for part in PARTS}, self.config)
        best_outer = outer_step({part: best[part][0] for part in PARTS}, self.config)
        fastest = min(whole, key=whole.get)
        memory = next((good[name]["peak_bytes"] for name in sorted(whole, key=whole.get) if good[name]["peak_bytes"]), None)
        self.result["summary"] = {
            "otplan": {**ours, "outer_step_ms": ours_outer, "peak_bytes": self.result["otplan"]["peak_bytes"]},
            "fastest": {part: {"variant": name, "median_ms": ms} for part, (ms, name) in best.items()},
            "fastest_outer_step_ms": best_outer, "fastest_variant": fastest, "outer_step_ms": whole,
            "ratio": best_outer / ours_outer,
            "ratios": {part: best[part][0] / ours[part]["median_ms"] for part in PARTS},
            "r1_against_eager": good["eager"]["potential_r1"]["median_ms"] / ours["potential_r1"]["median_ms"]
            if "eager" in good else None,
            "floor": ours_outer / self.result["otplan"]["floor_ms"],
            "memory": self.result["otplan"]["peak_bytes"] / memory if memory else None,
        }  # fmt: skip


# ---- all of them ----


def first_line(command):
    """What a tool says; None where it is missing or says nothing."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[0].strip()
    except (OSError, IndexError):
        return None


def describe_machine(options):
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.*)", info.read_text()) if info.exists() else None
    version = first_line([options.otplan, "--version"])
    commit = os.environ.get("OTPLAN_COMMIT") or first_line(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"])
    gpu = None
    if options.device == "cuda":
        gpu = first_line(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]) or "unknown GPU"
    return {
        "gpu": gpu, "cpu": found[1] if found else platform.processor(), "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0], "threads": options.threads, "rounds": options.rounds,
        "clock": "processor" if options.processor_time else "wall", "otplan": version, "commit": commit, "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def headline(result):
    name = f"{result['preset']} x{result['batch']} {result['precision']}"
    summary, checked = result.get("summary"), result.get("check", {})
    exact = "gradients accepted" if checked.get("good") else f"GRADIENTS NOT ACCEPTED ({checked.get('error', 'beyond the limit')})"
    if not summary:
        said = next((part["error"] for part in (result, result.get("otplan", {}), result.get("pytorch", {})) if "error" in part), "nothing measured")
        return f"{name}: {said}; {exact}"
    text = f"{name}: {summary['ratio']:.2f} times the fastest PyTorch ({summary['fastest_variant']}), "
    text += f"{summary['otplan']['outer_step_ms']:.2f} ms an outer step, {summary['floor']:.2f} times its floor"
    if summary["r1_against_eager"]:
        text += f", V + R1 {summary['r1_against_eager']:.2f} times eager"
    if summary["memory"]:
        text += f", memory {summary['memory']:.2f} of PyTorch's"
    return f"{text}; {exact}"


def table(results):
    """Markdown: a headline and a table for each case."""
    lines = []
    for result in results:
        lines += ["", f"**{headline(result)}**", ""]
        lines += ["| | transport ms | potential ms | potential + R1 ms | outer step ms | MiB |", "| --- | --- | --- | --- | --- | --- |"]
        summary = result.get("summary", {})
        failed = {key: text for key, text in result.get("otplan", {}).items() if key == "error"}
        rows = [("otplan", {**summary.get("otplan", {}), **failed}, summary.get("otplan", {}).get("outer_step_ms"))]
        rows += [(name, v, summary.get("outer_step_ms", {}).get(name)) for name, v in result["variants"].items()]
        for name, row, outer in rows:
            if "error" in row:
                lines.append(f"| {name} | {row['error']} | | | | |")
                continue
            cells = ["{median_ms:.2f} ({least_ms:.2f} to {most_ms:.2f})".format(**row[p]) if p in row else "" for p in PARTS]
            cells += [f"{outer:.2f}" if outer else "", f"{row['peak_bytes'] / 2**20:.0f}" if row.get("peak_bytes") else ""]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def read_earlier(file, todo):
    """Cases of an earlier call's file that this one does not measure again."""
    cases = json.loads(file.read_text())["cases"] if file and file.exists() else []
    return [c for c in cases if ((c["preset"], c["batch"]), c["precision"]) not in todo]


def write_whole(path, text):
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


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


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", type=parse_case, help="PRESET:BATCH; default: the device's list")
    parser.add_argument("--precision", action="append", choices=("f32", "tf32", "bf16"), help="default bf16; on the CPU f32 too")
    parser.add_argument("--device", default="cpu", choices=VARIANTS)
    parser.add_argument("--set", action="append", type=parse_setting, default=[], help="another value of an option of train")
    parser.add_argument("--processor-time", action="store_true", help="of the process, instead of wall clock")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, help="PyTorch's runs behind an error of its own; default 8, on the CPU 2")
    parser.add_argument("--part-seconds", type=float, help="for each part, round and side; default 0.3, on the CPU 2")
    parser.add_argument("--seconds", type=float, default=1e5, help="for everything")
    parser.add_argument("--variant", action="append", choices=VARIANTS["cuda"], help="of PyTorch; default: the device's list")
    parser.add_argument("--otplan", default=str(ROOT / "build/otplan"), help="the program")
    parser.add_argument("--replay", default=str(ROOT / "build/tests/replay"), help="the test program of that name")
    parser.add_argument("--out", type=Path, help="JSON file; a table comes beside it")
    options = parser.parse_args()
    cuda = options.device == "cuda"
    if options.processor_time and options.threads != 1:
        parser.error("--processor-time is for --threads 1: waiting threads spend it too")
    options.repeats = options.repeats or (8 if cuda else 2)
    options.part_seconds = options.part_seconds or (0.3 if cuda else 2)
    options.precision = options.precision or (["bf16"] if cuda else ["f32", "bf16"])
    return options


def name_plugin(program):
    """replay does not lie where otplan's plugin is looked for."""
    for folder in (program.parent, program.parent.parent / "lib/otplan"):
        if (folder / "otplan_cuda.so").exists():
            os.environ.setdefault("OTPLAN_CUDA_PLUGIN", str(folder / "otplan_cuda.so"))


def main():
    options = parse_options()
    name_plugin(Path(options.otplan).resolve())
    deadline = time.monotonic() + options.seconds
    sys.path.insert(0, str(SCRIPTS))
    from torch_case import read_config

    todo = [(case, precision) for precision in options.precision for case in options.case or CASES[options.device]]
    machine, results = describe_machine(options), read_earlier(options.out, todo)
    where = "{cpu}, {threads} of {cores} threads, load {load_average:.2f}; {otplan} {commit}".format(**machine)
    print(f"{machine['gpu']}, {where}" if machine["gpu"] else where, flush=True)
    if machine["load_average"] > 0.5 and not options.processor_time:
        print("bench_pytorch: the machine is busy with other work: these numbers are not to be kept", file=sys.stderr)

    def save(result):
        if result not in results:
            results.append(result)
        if options.out:
            write_whole(options.out, json.dumps({"machine": machine, "cases": results}, indent=1) + "\n")
            write_whole(options.out.with_suffix(".md"), table(results))

    needed = {**VARIANTS["cuda"], **VARIANTS[options.device]}
    for k, (case, precision) in enumerate(todo):
        until = deadline - CHEAP_S * (len(todo) - k - 1)
        if until - time.monotonic() < 20:
            until = deadline
        duel = Duel(case, precision, options, read_config(options.replay, *case, options.set), save)
        if deadline - time.monotonic() > 20:
            try:
                duel.run(until, needed)
            except Exception as error:  # one case's trouble is not the next one's
                duel.result["error"] = f"{type(error).__name__}: {error}"
            finally:
                duel.close()
            save(duel.result)
            print(headline(duel.result), flush=True)
        else:
            print(f"{duel.name()}: skipped, no time left", flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
