"""Writes networks.h5 and steps.h5: what PyTorch in float64 makes of tiny networks and training steps.

  python tests/golden/make_fixtures.py [FOLDER]

README.md beside this file says what the groups hold and how bounds follow from them. Run it again after
a change of src/nn or src/ot/objective.c, with scripts/torch_model.py changed alike.
"""
import copy
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import h5py
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import torch_model as model
from draws import PURPOSE_EPS, PURPOSE_LATENT, check_philox, normals
from torch_model import Arch, Objective

SEED = 20250601
REPEATS = 16  # perturbed float32 runs behind an error estimate
UNIT = 2.0**-24
KEPT_BITS = 32  # of a float64's 53: the rest would not compress

LIBVER = ("v110", "v110")  # what HDF5 1.10 reads, with its smaller headers

# ---- storing ----


def few_bits(values):
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    return np.ldexp(np.round(np.ldexp(mantissa, KEPT_BITS)), exponent - KEPT_BITS)


def put(group, name, values, exact=False):
    """float32 as it is; float64 with KEPT_BITS, unless exact."""
    values = np.asarray(values)
    if values.dtype == np.float64 and not exact:
        values = few_bits(values)
    large = values.size > 256
    group.create_dataset(name, data=values, **({"compression": "gzip", "compression_opts": 9, "shuffle": True} if large else {}))


def flat(tensors):
    return np.concatenate([model.to_otplan(t).ravel() for t in tensors])


def put_network(group, prefix, network):
    """Names and shapes as text, values one after the other, in otplan's layout."""
    named = dict(network.named_parameters())
    lines = "".join(f"{name} {' '.join(map(str, model.to_otplan(p).shape))}\n" for name, p in named.items())
    group.attrs[f"{prefix}names"] = np.bytes_(lines)
    put(group, f"{prefix}params", flat(named.values()).astype(np.float32))


# ---- inputs ----


def image_like(rng, a, n, scale=1.0):
    """Torch's order; float64 holding float32 values."""
    shape = (n, a.c) if a.vectors else (n, a.c, a.h, a.w)
    return torch.from_numpy((scale * rng.standard_normal(shape)).astype(np.float32).astype(np.float64))


def randomise(network, rng):
    """Nothing at zero or one, where a mistake could hide; scales such that values stay near 1."""
    with torch.no_grad():
        for name, p in network.named_parameters():
            last = name.rsplit(".", 1)[1]
            if last == "weight":
                values = rng.uniform(-1, 1, p.shape) * (3.0 / p[0].numel()) ** 0.5
            else:
                values = (1 if last == "scale" else 0) + 0.3 * rng.uniform(-1, 1, p.shape)
            p.copy_(torch.from_numpy(np.asarray(values, np.float32)))
    return network.double()


def nearby(value, rng, unit=UNIT):
    """A float32 copy of a network or tensor, each of whose elements moved by up to one `unit` of itself."""
    if isinstance(value, torch.nn.Module):
        network = copy.deepcopy(value)
        with torch.no_grad():
            for p in network.parameters():
                p.copy_(nearby(p, rng, unit))
        return network.float()
    return (value * (1 + unit * torch.from_numpy(rng.uniform(-1, 1, value.shape)))).float()


def float32_errors(run, given, rng):
    """run(*given) -> tensors. Exact values, and for each tensor the largest error that any of REPEATS
    float32 runs from nearby networks and inputs makes: one run alone can be lucky."""
    exact = run(*copy.deepcopy(given))
    errors = np.zeros(len(exact))
    for _ in range(REPEATS):
        got = run(*(nearby(part, rng) for part in given))
        errors = np.maximum(errors, [(g.double() - e).abs().max().item() for g, e in zip(got, exact)])
    return [e.detach() for e in exact], errors


def put_bf16_errors(group, run, given, exact, parts, rng):
    """For each part, a slice of what run gives: the largest root mean square error that bfloat16 autocast
    makes in REPEATS runs. Inputs move by up to an eighth of its roundoff, so that it rounds otherwise."""
    errors = dict.fromkeys(parts, 0.0)
    for _ in range(REPEATS):
        near = [nearby(part, rng, 2.0**-12) for part in given]
        with torch.autocast("cpu", torch.bfloat16):
            got = run(*near)
        for name, part in parts.items():
            off = torch.cat([(g.double() - e).flatten() for g, e in zip(got[part], exact[part])])
            errors[name] = max(errors[name], off.square().mean().sqrt().item())
    for name, error in errors.items():
        group.attrs[f"{name}_bf16_error"] = error


class KinkWatch:
    """Whether every LeakyReLU's argument stays clear of its kink: there float32 may take the other side,
    and a comparison of gradients would compare two functions."""

    def __enter__(self):
        self.plain, self.nearest = model.lrelu, np.inf

        def watched(x):
            self.nearest = min(self.nearest, (x.detach().abs().min() / x.detach().abs().max()).item())
            return self.plain(x)

        model.lrelu = watched
        return self

    def __exit__(self, *_):
        model.lrelu = self.plain
        assert self.nearest > 16 * UNIT, f"a value {self.nearest:.3g} from a kink: take another seed"


# ---- (a) whole networks ----

CASES = {
    "unet_full": Arch(8, 8, 3, condition_noise=True, noise_features=4, latent=5, embedding=8, width=8,
                      multipliers=[1, 1], attention=[4], filter="fir"),
    "unet_noise": Arch(8, 8, 2, condition_noise=True, noise_features=3, embedding=4, patch=2, width=4,
                       multipliers=[1, 2], filter="box"),
    "unet_plain": Arch(8, 8, 3, residual=False, width=4, multipliers=[1, 2], filter="box"),
    "potential_fir": Arch(8, 8, 3, filter="fir", potential_features=5, potential_width=8, potential_multipliers=[1, 1]),
    "potential_patches": Arch(8, 8, 1, patch=2, filter="box", potential_width=4, potential_multipliers=[1, 2]),
    "mlp_transport": Arch(1, 1, 3, vectors=True, condition_noise=True, latent=2, width=8, blocks=2),
    "mlp_potential": Arch(1, 1, 3, vectors=True, potential_width=8, potential_blocks=2,
                          potential_quadratic=4),
}  # fmt: skip


def make_transport(group, a, rng, n):
    """<T(x', x, eps, z), seed> for a random seed, and its gradients."""
    t = randomise(model.transport_network(a), rng)
    smoothed, clean, eps, seed = (image_like(rng, a, n) for _ in range(4))
    z = torch.from_numpy(rng.standard_normal((n, max(a.latent, 1))).astype(np.float32).astype(np.float64))

    def run(network, seed, *inputs):
        y = network(*inputs)
        return [y, *torch.autograd.grad((y * seed).sum(), list(network.parameters()))]

    given = [t, seed, smoothed, clean, eps, z]
    (y, *grads), errors = float32_errors(run, given, rng)
    put_network(group, "", t)
    put_bf16_errors(group, run, given, [y, *grads], {"y": slice(0, 1), "grads": slice(1, None)}, rng)
    for name, value in (("smoothed", smoothed), ("clean", clean), ("eps", eps), ("z", z), ("seed", seed)):
        put(group, name, model.to_otplan(value).astype(np.float32))
    put(group, "y", model.to_otplan(y))
    put(group, "y_error", errors[:1])
    put(group, "grads", flat(grads))
    put(group, "grads_error", errors[1:])


def make_potential(group, a, rng, n):
    """<V(y), seed> and sum |grad V(y)|^2, and their gradients."""
    v = randomise(model.potential_network(a), rng)
    x = image_like(rng, a, n)
    seed = torch.from_numpy(rng.standard_normal((n, 1)).astype(np.float32).astype(np.float64))

    def run(network, seed, y):
        parameters = list(network.parameters())
        value = network(y.requires_grad_())
        grads = torch.autograd.grad((value * seed).sum(), parameters, retain_graph=True)
        (slope,) = torch.autograd.grad(value.sum(), y, create_graph=True)
        r1 = slope.square().sum()
        # The last bias shifts V: its slope does not depend on it.
        second = torch.autograd.grad(r1, parameters, allow_unused=True)
        second = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, second)]
        return [value, slope, r1.reshape(1), *grads, *second]

    with KinkWatch():
        exact, errors = float32_errors(run, [v, seed, x], rng)
    count = len(list(v.parameters()))
    put_network(group, "", v)
    parts = {"y": slice(0, 1), "slope": slice(1, 2), "r1": slice(2, 3)}
    parts |= {"grads": slice(3, 3 + count), "r1_grads": slice(3 + count, None)}
    put_bf16_errors(group, run, [v, seed, x], exact, parts, rng)
    put(group, "y_at", model.to_otplan(x).astype(np.float32))
    put(group, "seed", model.to_otplan(seed).astype(np.float32))
    for i, name in enumerate(("y", "slope", "r1")):
        put(group, name, model.to_otplan(exact[i]))
        put(group, f"{name}_error", errors[i : i + 1])
    for name, first in (("grads", 3), ("r1_grads", 3 + count)):
        put(group, name, flat(exact[first : first + count]))
        put(group, f"{name}_error", errors[first : first + count])


# ---- (b) training steps ----

STEP_CASES = {
    "image": (
        Arch(8, 8, 2, condition_noise=True, noise_features=2, latent=3, embedding=4, width=4, multipliers=[1, 1], filter="fir",
             potential_features=3, potential_width=4, potential_multipliers=[1, 2]),
        Objective(tau=0.05, batch=3),
        111,  # of the seeds before it, some parameter's first gradient is nought but for rounding
    ),
    "vectors": (
        Arch(1, 1, 2, vectors=True, condition_noise=True, latent=2, width=8, blocks=2, potential_width=8,
             potential_blocks=1),
        Objective(tau=0.3, batch=5, g="softplus"),
        101,
    ),
    "refined": (
        Arch(1, 1, 2, vectors=True, condition_noise=True, width=8, blocks=1, sharpness=2, potential_width=8,
             potential_blocks=1, potential_sharpness=4),
        Objective(tau=0.3, batch=5, refine=2),
        102,
    ),
}  # fmt: skip
OUTER_STEPS = 2
SETTINGS = dict(seed=0x1234567890, keep=0.9375, sigma=0.375, rate_t=5e-4, rate_v=2e-4, beta1=0.5, beta2=0.9, ema=0.75, r1=0.7)


def draw_noise(a, samples, draw):
    """As otplan draws it, in otplan's order; then in torch's."""
    seed = SETTINGS["seed"]
    eps, eps_exact = normals(seed, samples, draw, PURPOSE_EPS, a.h * a.w * a.c)
    z, _ = normals(seed, samples, draw, PURPOSE_LATENT, a.latent)
    shaped = torch.from_numpy(eps).double()
    if not a.vectors:
        shaped = shaped.reshape(samples, a.h, a.w, a.c).permute(0, 3, 1, 2)
    return eps, eps_exact, z, shaped, torch.from_numpy(z).double()


def put_state(group, prefix, rows, values, errors):
    """The state's rows p, m, v [, ema], each as long as params."""
    tensors = len(values) // len(rows)
    put(group, prefix, np.stack([flat(values[i * tensors : (i + 1) * tensors]) for i in range(len(rows))]))
    put(group, f"{prefix}_error", np.asarray(errors).reshape(len(rows), tensors))


def make_steps(group, a, o, rng):
    """OUTER_STEPS times: a potential step with R1, then a transport step, every one with data and draws of
    its own; the states after each outer step."""
    n, s = o.batch, SETTINGS
    t = randomise(model.transport_network(a), rng)
    v = randomise(model.potential_network(a), rng)
    data = [image_like(rng, a, n, 0.7) for _ in range(3 * OUTER_STEPS)]
    noise = [draw_noise(a, n, draw) for draw in range(2 * OUTER_STEPS)]

    def run(t, v, *data):
        adam_t, adam_v = (model.Adam(network, s["beta1"], s["beta2"]) for network in (t, v))
        results = []
        for k in range(OUTER_STEPS):
            x, y, again = data[3 * k : 3 * k + 3]
            eps, z = (part.to(x.dtype) for part in noise[2 * k][3:])
            total, report_v = model.potential_loss(o, t, v, x, y, eps, z, s["keep"], s["sigma"], s["r1"], not a.vectors)
            adam_v.update(torch.autograd.grad(total, adam_v.parameters), s["rate_v"], 1)
            eps, z = (part.to(x.dtype) for part in noise[2 * k + 1][3:])
            loss, report_t = model.transport_loss(o, t, v, again, eps, z, s["keep"], s["sigma"])
            adam_t.update(torch.autograd.grad(loss, adam_t.parameters), s["rate_t"], s["ema"])
            results += [torch.stack([r.detach().to(x.dtype) for r in report]) for report in (report_v, report_t)]
            results += [p.detach().clone() for p in adam_v.parameters + adam_v.m + adam_v.v]
            results += [p.detach().clone() for p in adam_t.parameters + adam_t.m + adam_t.v + adam_t.ema]
        return results

    with KinkWatch():
        exact, errors = float32_errors(run, [t, v, *data], rng)

    put_network(group, "transport_", t)
    put_network(group, "potential_", v)
    for name, value in SETTINGS.items():
        group.attrs[name] = np.uint64(value) if name == "seed" else float(value)
    group.attrs["tau"], group.attrs["batch"] = o.tau, o.batch
    count_t, count_v = (len(list(network.parameters())) for network in (t, v))
    at = 0
    for k in range(OUTER_STEPS):
        step = group.create_group(f"step{k}")
        for name, value in zip(("potential_x", "potential_y", "transport_x"), data[3 * k :]):
            put(step, name, model.to_otplan(value).astype(np.float32))
        for i, name in enumerate(("potential", "transport")):
            put(step, f"{name}_report", exact[at + i].numpy())
            put(step, f"{name}_report_error", errors[at + i : at + i + 1])
            eps, eps_exact, z, _, _ = noise[2 * k + i]
            put(step, f"{name}_eps", eps)
            put(step, f"{name}_z", z)
            if k == 0 and i == 0:
                put(step, "eps_exact", eps_exact)
        at += 2
        for name, rows, count in (("potential", "pmv", count_v), ("transport", "pmve", count_t)):
            size = len(rows) * count
            # A row of p is known to a fraction of the update, or Adam took a step by a rounding error's sign.
            rate = s["rate_v"] if name == "potential" else s["rate_t"]
            assert errors[at : at + count].max() < 0.05 * rate, f"{name}: take another seed"
            kept = slice(at, at + size) if k + 1 == OUTER_STEPS else slice(at, at + count)
            put_state(step, f"{name}_state", rows[: (kept.stop - kept.start) // count], exact[kept], errors[kept])
            at += size


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    check_philox()
    versions = f"PyTorch {torch.__version__}, NumPy {np.__version__}, h5py {h5py.__version__}, seed {SEED}"
    with h5py.File(folder / "networks.h5", "w", libver=LIBVER) as file:
        file.attrs["made_by"] = np.bytes_(versions)
        for i, (name, a) in enumerate(CASES.items()):
            rng = np.random.default_rng([SEED, i])
            make = make_potential if "potential" in name else make_transport
            make(file.create_group(name), a, rng, 3 if a.vectors else 2)
    with h5py.File(folder / "steps.h5", "w", libver=LIBVER) as file:
        file.attrs["made_by"] = np.bytes_(versions)
        for name, (a, o, seed) in STEP_CASES.items():
            make_steps(file.create_group(name), a, o, np.random.default_rng([SEED, seed]))
    for name in ("networks.h5", "steps.h5"):
        print(f"{folder / name}: {(folder / name).stat().st_size} bytes, {versions}")


if __name__ == "__main__":
    main()
