#!/usr/bin/env python3
"""Is otplan as exact as PyTorch? On PyTorch's weights, batches and noise:

  torch_check.py gradients --preset P --batch N    one step of each kind: T's output, reports, every gradient
  torch_check.py curves --preset P --batch N       the losses of --steps outer steps

The judge is PyTorch in a finer format (float64 for f32, float32 for tf32 and bf16). An error is a distance
from it; PyTorch's own is the largest of --repeats runs in the precision in question, from weights and inputs
moved by a small part of a roundoff, since one run alone can be lucky. Allowed is

  bf16, tf32   1.5 times PyTorch's own
  f32          4 times, since otplan's exponential may be off by 3.4 roundoffs where a C library's is within one

for a result as a whole (root mean square over all its values). A single tensor's error is one draw, so each
may reach 4 times PyTorch's own; a wrong gradient is off by tens.

Curves: training amplifies rounding, in leaps: Adam divides a gradient by its size, so where one is near zero
its sign, which rounding decides, moves a weight by a whole step. How far runs drift that differ by rounding
alone is therefore seen from several of PyTorch's, and not within the first steps, before all have leapt: over
the first half of the steps, and over all, the root mean square distance may be 4 times the largest of PyTorch's.

Prints a JSON object; exit code 1 if something is beyond what is allowed.
"""
import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

UNITS = {"f32": 2.0**-24, "tf32": 2.0**-14, "bf16": 2.0**-12}  # how far inputs move: f32 one roundoff, others an eighth
LIMITS = {"f32": 4.0, "tf32": 1.5, "bf16": 1.5}
TENSOR_LIMIT = CURVE_LIMIT = 4.0
COLUMNS = {"potential loss": 1, "slope": 2, "transport loss": 5, "cost": 6}  # of replay's lines
PARTS_JUDGED = 2  # the first half of a curve, and all of it


# ---- gradients ----


def take_step(case, part, given, precision, dtype):
    """Gradients by name, the report, and T's output for the transport part."""
    import torch

    t, v, x, y, eps, z = given
    network = t if part == "transport" else v
    t.requires_grad_(part == "transport")
    v.requires_grad_(part != "transport")
    with case.autocast(precision):
        loss, report = case.loss(part, t, v, x, y, eps, z)
    named = dict(network.named_parameters())
    grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    result = {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(named.items(), grads)}
    result["report"] = torch.stack([r.detach().to(dtype) for r in report])
    if part == "transport":
        with torch.no_grad(), case.autocast(precision):
            result["made"] = t(x + case.sigma * eps, x, eps, z)
    return result


def distances(got, exact):
    """Root of the sum of squared differences, by tensor."""
    return {name: (got[name].double() - value.double()).square().sum().item() ** 0.5 for name, value in exact.items()}


def pytorchs_own(case, part, given, precision, exact, repeats):
    import torch
    from torch_case import nearby

    generator, own = torch.Generator().manual_seed(2), dict.fromkeys(exact, 0.0)
    for _ in range(repeats):
        near = [nearby(value, UNITS[precision], generator) if value is not None else None for value in given]
        off = distances(take_step(case, part, near, precision, torch.float32), exact)
        own = {name: max(own[name], off[name]) for name in own}
    return own


def read_ours(case, part, folder, lines):
    import torch

    network = case.t if part == "transport" else case.v
    ours = case.read_flat(folder / f"{part}_grads", network)
    words = next(words for words in lines if words[0] == part)
    ours["report"] = torch.tensor([float(word) for word in words[1:]], dtype=torch.float64, device=case.device)
    if part == "transport":
        ours["made"] = case.read_samples(folder / "made")
    return ours


def judge_part(part, ours, own, exact, precision):
    """Ratios of our error to PyTorch's own: of T's output, of the report, of all gradients; and of single tensors."""
    off = distances(ours, exact)
    grads = [name for name in exact if name not in ("report", "made")]
    size = sum(exact[name].double().square().sum().item() for name in grads) ** 0.5

    def ratio(names, floor):
        ours_off, own_off = (sum(d[name] ** 2 for name in names) ** 0.5 for d in (off, own))
        return ours_off / max(own_off, floor, 1e-300)

    whole = {f"{part} gradients": ratio(grads, 0)}
    for name in ("report", "made"):
        if name in exact:
            whole[f"{part} {name}"] = ratio([name], 2.0**-24 * exact[name].double().norm().item())
    # Where PyTorch is exact (a bias whose gradient cancels), a roundoff of the whole gradient is none.
    each = {f"{part} {name}": ratio([name], 2.0**-24 * size) for name in grads}
    worst = max(each, key=each.get)
    good = max(whole.values()) <= LIMITS[precision] and each[worst] <= TENSOR_LIMIT
    return {"good": good, "whole": whole, "tensors": len(each), "worst_tensor": worst, "worst_ratio": each[worst]}


def check_gradients(options, folder):
    import torch
    from torch_case import PARTS, Case, allow_tf32

    case = Case(options.replay, options.preset, options.batch, options.torch_device, changes=options.set)
    case.write_exchange(folder)
    lines = case.replay(options.replay, folder, 0, options.precision, options.device, options.threads)
    given = [case.t, case.v, case.x[0], case.y[0], *case.draw(0)]
    dtype = torch.float64 if options.precision == "f32" else torch.float32
    finer = [value.to(dtype) if value is not None else None for value in copy.deepcopy(given)]
    results = []
    for part in PARTS:
        allow_tf32(False)
        exact = take_step(case, part, finer, "f32", dtype)
        allow_tf32(options.precision == "tf32")
        own = pytorchs_own(case, part, given, options.precision, exact, options.repeats)
        results.append(judge_part(part, read_ours(case, part, folder, lines), own, exact, options.precision))
    worst = max(results, key=lambda r: r["worst_ratio"])
    return {
        "good": all(r["good"] for r in results), "limit": LIMITS[options.precision], "tensor_limit": TENSOR_LIMIT,
        "whole": {key: value for r in results for key, value in r["whole"].items()},
        "tensors": sum(r["tensors"] for r in results),
        "worst_tensor": worst["worst_tensor"], "worst_ratio": worst["worst_ratio"],
    }  # fmt: skip


# ---- curves ----


def train(case, t, v, batches, draws, precision, steps):
    """PyTorch's counterpart of `replay FOLDER steps`: the same lines, as numbers."""
    import torch
    import torch_model as model

    config, lines = case.config, []
    adam_t, adam_v = (model.Adam(n, float(config["beta1"]), float(config["beta2"])) for n in (t, v))
    for k in range(steps):
        line = [k + 1]
        for part, adam, rate, draw in (
            ("potential_r1", adam_v, "lr_d", 2 * k), ("transport", adam_t, "lr_g", 2 * k + 1),
        ):  # fmt: skip
            x, y = (side[draw % len(side)] for side in batches)
            t.requires_grad_(adam is adam_t)
            v.requires_grad_(adam is adam_v)
            with case.autocast(precision):
                loss, report = case.loss(part, t, v, x, y, *draws[draw])
            adam.update(torch.autograd.grad(loss, adam.parameters), float(config[rate]), 0.99)
            line += [r.item() for r in report]
        lines.append(line)
    return lines


def drift(curve, reference, column):
    """Root mean square distance so far, over the first half, and over all."""
    squares = [(float(a[column]) - float(b[column])) ** 2 for a, b in zip(curve, reference)]
    ends = [len(squares) * (k + 1) // PARTS_JUDGED for k in range(PARTS_JUDGED)]
    return [(sum(squares[:end]) / end) ** 0.5 for end in ends]


def judge_curve(curve, reference, others):
    """The largest ratio of the curve's drift to the largest of the others' so far, and where it is."""
    worst = {"steps": len(curve), "ratio": 0.0, "column": None, "step": 0}
    for name, column in COLUMNS.items():
        ours = drift(curve, reference, column)
        theirs = [max(each) for each in zip(*(drift(other, reference, column) for other in others))]
        size = max(abs(float(line[column])) for line in reference)
        for k, value in enumerate(ours):
            ratio = value / max(theirs[k], 2.0**-24 * size)
            if ratio > worst["ratio"]:
                worst.update(ratio=ratio, column=name, step=len(curve) * (k + 1) // PARTS_JUDGED)
    return worst


def check_curves(options, folder):
    import torch
    from torch_case import Case, allow_tf32, nearby

    case = Case(options.replay, options.preset, options.batch, options.torch_device, batches=8, changes=options.set)
    case.write_exchange(folder)
    runs = {}
    for device in dict.fromkeys([options.device, *options.beside]):
        runs[device] = case.replay(options.replay, folder, options.steps, options.precision, device, options.threads)
    draws = [case.draw(k) for k in range(2 * options.steps)]
    generator = torch.Generator().manual_seed(2)

    def run(unit, precision, dtype):
        networks = [nearby(n, unit, generator).to(dtype) for n in (case.t, case.v)]
        batches = [[nearby(part, unit, generator).to(dtype) for part in side] for side in (case.x, case.y)]
        noise = [[part.to(dtype) if part is not None else None for part in draw] for draw in draws]
        return train(case, *networks, batches, noise, precision, options.steps)

    allow_tf32(False)
    reference = run(0, "f32", torch.float64 if options.precision == "f32" else torch.float32)
    allow_tf32(options.precision == "tf32")
    others = [run(UNITS[options.precision], options.precision, torch.float32) for _ in range(options.repeats)]
    found = {device: judge_curve(curve, reference, others) for device, curve in runs.items()}
    good = all(v["ratio"] <= CURVE_LIMIT and v["steps"] == options.steps for v in found.values())
    return {"good": good, "steps": options.steps, "limit": CURVE_LIMIT, "drift": found}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("gradients", "curves"))
    parser.add_argument("--preset", default="quickstart")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--precision", default="f32", choices=UNITS)
    parser.add_argument("--device", default="cpu", help="otplan's; PyTorch takes the same unless --torch-device")
    parser.add_argument("--torch-device")
    parser.add_argument("--beside", action="append", default=[], metavar="DEVICE", help="curves: otplan there too")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], type=lambda text: tuple(text.split("=", 1)), metavar="KEY=VALUE")
    parser.add_argument("--replay", required=True, help="the test program of that name")
    options = parser.parse_args()
    options.torch_device = options.torch_device or options.device
    if options.threads:
        os.environ["OMP_NUM_THREADS"] = str(options.threads)
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = {"gradients": check_gradients, "curves": check_curves}[options.what](options, Path(folder))
        except subprocess.CalledProcessError as failure:
            sys.exit(f"torch_check: {failure.stderr.strip() or failure}")
    print(json.dumps(result), flush=True)
    if not result["good"]:
        sys.exit(f"torch_check: {options.what} beyond what is allowed")


if __name__ == "__main__":
    main()
