#!/usr/bin/env python3
"""MM:R in plain PyTorch: the solver that points are compared with (scripts/bench_points).

The semi-dual game of W2 with two ReLU networks (Korotin et al., NeurIPS 2021, arXiv 2106.01954, there called
MM:R): sup over f, inf over T of E[|x - T(x)|^2 / 2 - f(T(x))] + E f(y). Widths max(2 D, 64), max(2 D, 64),
max(D, 32), batches of 1,024, 15 updates of T to one of f, Adam at 1e-3, as published.

usage: rival_mmr.py SOURCE.npy TARGET.npy TEST.npy TRUTH.npy --seconds S [--threads 1] [--seed 1]
prints one JSON object: l2_uvp in per cent of the target's variance, updates of f, seconds of processor time.
"""
import argparse
import json
import time

import numpy as np
import torch
from torch import nn


def network(d, outputs):
    wide, last = max(2 * d, 64), max(d, 32)
    return nn.Sequential(nn.Linear(d, wide), nn.ReLU(), nn.Linear(wide, wide), nn.ReLU(),
                         nn.Linear(wide, last), nn.ReLU(), nn.Linear(last, outputs))


def train(source, target, seconds, batch=1024, inner=15):
    """T after so many seconds of processor time, and how often f was updated."""
    d = source.shape[1]
    transport, potential = network(d, d), network(d, 1)
    of_t = torch.optim.Adam(transport.parameters(), lr=1e-3, betas=(0.8, 0.9))
    of_f = torch.optim.Adam(potential.parameters(), lr=1e-3, betas=(0.8, 0.9))

    def draw(points):
        return points[torch.randint(len(points), (batch,))]

    started, updates = time.process_time(), 0
    while time.process_time() - started < seconds:
        for _ in range(inner):
            x = draw(source)
            y = transport(x)
            loss = ((x - y) ** 2).sum(1).mean() / 2 - potential(y).mean()
            of_t.zero_grad()
            loss.backward()
            of_t.step()
        with torch.no_grad():
            y = transport(draw(source))
        loss = potential(y).mean() - potential(draw(target)).mean()
        of_f.zero_grad()
        loss.backward()
        of_f.step()
        updates += 1
    return transport, updates


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs=4, metavar="FILE.npy", help="source, target, test, truth")
    parser.add_argument("--seconds", type=float, required=True, help="of processor time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    source, target, test, truth = (torch.from_numpy(np.load(f)).float() for f in args.files)
    transport, updates = train(source, target, args.seconds)
    with torch.no_grad():
        error = ((transport(test) - truth) ** 2).sum(1).mean()
    uvp = 100 * float(error / target.var(0).sum())
    print(json.dumps({"l2_uvp": uvp, "updates_of_f": updates, "seconds": args.seconds,
                      "torch": torch.__version__}))


if __name__ == "__main__":
    main()
