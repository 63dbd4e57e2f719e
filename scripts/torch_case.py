"""A case to compare in: a preset at a batch size and precision, with PyTorch's networks, batches and draws,
and the folder through which `replay` (tests/replay.c) gets the same ones.

Used by scripts/torch_check.py and scripts/torch_rival.py.
"""
import contextlib
import copy
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import torch_model as model
from draws import PURPOSE_EPS, PURPOSE_LATENT, normals
from torch_model import f32

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("transport", "potential", "potential_r1")
SEED = 1


def read_config(program, preset, batch=None, changes=()):
    """What `replay`, the program, makes of a preset under `changes` (key, value), as text by key; auto is settled."""
    command = [program, "settings", "--preset", preset, *(("--batch", str(batch)) if batch else ())]
    for key, value in changes:
        command += [f"--{key.replace('_', '-')}", str(value)]
    done = subprocess.run([str(w) for w in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip() or f"{program}: ended with {done.returncode}")
    rows = re.findall(r"^([\w-]+) = (.*)$", done.stdout, re.M)
    return {key.replace("-", "_"): value for key, value in rows}


def numbers(text):
    return [] if text == "none" else [int(n) for n in text.split(",")]


def make_arch(config):
    vectors = config["preset"] == "vector"
    w, h = (int(n) for n in (config["image_size"].split("x") * 2)[:2])
    on = {key: config[key] in ("true", "on") for key in ("condition_noise", "residual")}
    whole = "noise_features latent embedding patch width blocks potential_features potential_width".split()
    whole += ["potential_blocks", "potential_quadratic"]
    return model.Arch(
        h, w, int(config["channels"]), vectors, **on, **{key: int(config[key]) for key in whole},
        multipliers=numbers(config["multipliers"]), attention=numbers(config["attention"]),
        sharpness=float(config["sharpness"]), potential_sharpness=float(config["potential_sharpness"]),
        noise_halvings=int(config["noise_scale"]).bit_length() - 1,
        filter=config["resample"], potential_multipliers=numbers(config["potential_multipliers"]),
    )  # fmt: skip


def allow_tf32(on):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


class Case:
    """x, y: `batches` whole batches each, in torch's order; replay numbers draws and batches alike."""

    def __init__(self, program, preset, batch, device="cpu", batches=1, changes=()):
        self.preset, self.batch, self.device, self.changes = preset, batch, device, tuple(changes)
        self.config = read_config(program, preset, batch, self.changes)
        self.a = make_arch(self.config)
        self.o = model.Objective(tau=float(self.config["tau"]), batch=batch, refine=int(self.config["refine"]))
        self.sigma, self.r1 = f32(0.1), float(self.config["r1"])
        torch.manual_seed(SEED)
        self.t, self.v = (
            make(self.a).to(device, memory_format=torch.channels_last)
            for make in (model.transport_network, model.potential_network)
        )
        shape = (batches, batch, *((self.a.c,) if self.a.vectors else (self.a.c, self.a.h, self.a.w)))
        self.x, self.y = ([self.place(part) for part in 2 * torch.rand(shape) - 1] for _ in range(2))

    def place(self, samples):
        samples = samples.to(self.device)
        return samples if self.a.vectors else samples.contiguous(memory_format=torch.channels_last)

    def from_rows(self, rows):
        """Samples in otplan's order, (n, h, w, c) or (n, c), as torch has them."""
        a, rows = self.a, torch.from_numpy(rows)
        return self.place(rows.reshape(-1, a.c) if a.vectors else rows.reshape(-1, a.h, a.w, a.c).permute(0, 3, 1, 2))

    def draw(self, number):
        """eps and z of a draw, as otplan makes them."""
        a = self.a
        eps, _ = normals(SEED, self.batch, number, PURPOSE_EPS, a.h * a.w * a.c)
        eps = self.from_rows(eps)
        z = torch.from_numpy(normals(SEED, self.batch, number, PURPOSE_LATENT, a.latent)[0]).to(self.device)
        return eps, z if a.latent else None

    def loss(self, part, t, v, x, y, eps, z):
        """What the part minimises, and its report: four numbers, as replay prints them."""
        if part == "transport":
            return model.transport_loss(self.o, t, v, x, eps, z, 1.0, self.sigma)
        r1 = self.r1 if part == "potential_r1" else 0
        return model.potential_loss(self.o, t, v, x, y, eps, z, 1.0, self.sigma, r1)

    def autocast(self, precision):
        if precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(torch.device(self.device).type, torch.bfloat16)

    # ---- replay ----

    def write_exchange(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, network in (("transport", self.t), ("potential", self.v)):
            named = {key: model.to_otplan(p) for key, p in network.named_parameters()}
            lines = (f"{key} {' '.join(map(str, p.shape))}\n" for key, p in named.items())
            (folder / f"{name}.names").write_text("".join(lines))
            np.concatenate([p.ravel() for p in named.values()]).astype(np.float32).tofile(folder / name)
        for name, batches in (("x", self.x), ("y", self.y)):
            np.concatenate([model.to_otplan(part).ravel() for part in batches]).tofile(folder / name)

    def replay(self, program, folder, steps, precision, device, threads=0):
        """replay's lines, split into words. Raises CalledProcessError, whose stderr says why."""
        command = [program, folder, steps, "--preset", self.preset, "--batch", self.batch, "--seed", SEED]
        command += ["--precision", precision, "--device", device, "--threads", threads, "--sigma-start", "0.1"]
        for key, value in self.changes:
            command += [f"--{key}", value]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True)
        return [line.split() for line in done.stdout.splitlines()]

    def read_flat(self, file, network):
        """A file in the order of the names, as tensors in torch's layout by name."""
        flat, at, tensors = np.fromfile(file, np.float32), 0, {}
        for name, p in network.named_parameters():
            piece = flat[at : at + p.numel()].reshape(model.to_otplan(p).shape)
            tensors[name] = model.from_otplan(piece, p.shape).to(self.device)
            at += p.numel()
        assert at == flat.size, f"{file} holds {flat.size} values, expected {at}"
        return tensors

    def read_samples(self, file):
        return self.from_rows(np.fromfile(file, np.float32))


# ---- runs from inputs that are a little off, for what rounding does ----


def nearby(value, unit, generator):
    """A copy of a network or tensor, each of whose elements moved by up to `unit` of itself."""
    if isinstance(value, torch.nn.Module):
        network = copy.deepcopy(value)
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(nearby(p, unit, generator))
        return network
    move = 2 * torch.rand(value.shape, generator=generator, dtype=torch.float64) - 1
    return (value * (1 + unit * move.to(value.device))).to(value.dtype)
