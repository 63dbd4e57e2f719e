"""The networks of src/nn and the losses of src/ot/objective.c in PyTorch.

Owns nothing but the likeness: state_dict() names are otplan's parameter names, to_otplan() and
from_otplan() turn their layouts into each other, and constants that otplan holds in float32 (slopes,
gains, epsilons) are rounded to float32 here too, so that float64 on both sides computes one function.

  layout        here                      otplan (all rank 4, c fastest)
  images        (n, c, h, w)              (n, h, w, c)
  convolution   (out, in, kh, kw)         (out, kh, kw, in)
  transposed    (in, out, kh, kw)         (in, kh, kw, out)
  dense         (out, in)                 (1, 1, out, in)
  bias, scale   (c)                       (1, 1, 1, c)

Used by tests/golden/make_fixtures.py, scripts/torch_check.py and scripts/torch_rival.py.
"""
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def f32(value):
    """A constant as otplan holds it. Not called where torch.compile traces."""
    return float(np.float32(value))


SLOPE, ROOT_HALF, NORM_EPS, LATENT_EPS = f32(0.2), f32(0.70710678), f32(1e-6), f32(1e-8)

@dataclass
class Arch:
    """otp_arch of src/nn/networks.h, field by field."""

    h: int
    w: int
    c: int
    vectors: bool = False
    condition_noise: bool = False
    noise_features: int = 0
    noise_halvings: int = 0
    latent: int = 0
    embedding: int = 0
    residual: bool = True
    patch: int = 1
    width: int = 8
    blocks: int = 1
    sharpness: float = 1
    multipliers: list = field(default_factory=lambda: [1])
    attention: list = field(default_factory=list)
    filter: str = "box"
    potential_features: int = 0
    potential_width: int = 8
    potential_blocks: int = 1
    potential_sharpness: float = 1
    potential_quadratic: int = 0
    potential_multipliers: list = field(default_factory=lambda: [1])


# ---- layers (src/nn/layers.c) ----


def lrelu(x):
    return F.leaky_relu(x, SLOPE)


def merge(a, b):
    return (a + b) * ROOT_HALF


def conv(c_in, c_out, k, bias=True):
    return nn.Conv2d(c_in, c_out, k, padding=k // 2, bias=bias)


def to_patches(c_in, c_out, patch):
    return nn.Conv2d(c_in, c_out, 3 * patch, stride=patch, padding=patch)


def from_patches(c_in, c_out, patch):
    if patch == 1:
        return conv(c_in, c_out, 3)
    return nn.ConvTranspose2d(c_in, c_out, 3 * patch, stride=patch, padding=patch)


class Resample(nn.Module):
    """down2 with gain 1 and up2 with gain 4: mean and repetition (box), or [1, 3, 3, 1] / 8 (fir).

    The filter runs channel by channel; with `dense`, as a full convolution whose matrices are diagonal:
    many more multiplications, by zero, but a GPU's matrix units may do them sooner. The same numbers."""

    dense = False  # of all instances: whoever measures chooses

    def __init__(self, kind):
        super().__init__()
        self.fir = kind == "fir"
        tap = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(tap, tap)[None, None], persistent=False)

    def _weights(self, x, gain):
        c, kernel = x.shape[1], (gain * self.kernel).to(x.dtype)
        if not Resample.dense:
            return kernel.expand(c, 1, 4, 4), c
        eye = torch.eye(c, dtype=x.dtype, device=x.device)[:, :, None, None]
        return (eye * kernel).contiguous(memory_format=torch.channels_last), 1

    def down(self, x):
        if not self.fir:
            return F.avg_pool2d(x, 2)
        weights, groups = self._weights(x, 1)
        return F.conv2d(x, weights, stride=2, padding=1, groups=groups)

    def up(self, x):
        if not self.fir:
            return F.interpolate(x, scale_factor=2, mode="nearest")
        weights, groups = self._weights(x, 4)
        return F.conv_transpose2d(x, weights, stride=2, padding=1, groups=groups)


def group_count(c):
    groups = min(c // 4, 32)
    while groups > 1 and c % groups:
        groups -= 1
    return max(groups, 1)


class Norm(nn.Module):
    """GroupNorm; with an embedding its scale and shift are the learned ones plus a dense layer of it."""

    def __init__(self, c, embedding=0, silu=True):
        super().__init__()
        self.groups, self.silu = group_count(c), silu
        self.scale = nn.Parameter(torch.ones(c))
        self.shift = nn.Parameter(torch.zeros(c))
        if embedding:
            self.weight = nn.Parameter(torch.empty(2 * c, embedding).normal_(std=0.5 / embedding**0.5))
            self.bias = nn.Parameter(torch.zeros(2 * c))

    def forward(self, x, e=None):
        if e is None or not hasattr(self, "weight"):
            h = F.group_norm(x, self.groups, self.scale, self.shift, NORM_EPS)
        else:
            scale, shift = F.linear(e, self.weight, self.bias).chunk(2, 1)
            scale, shift = scale + self.scale, shift + self.shift
            h = torch.addcmul(shift[:, :, None, None], F.group_norm(x, self.groups, eps=NORM_EPS), scale[:, :, None, None])
        return F.silu(h) if self.silu else h


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = Norm(c, silu=False)
        self.qkv, self.out = conv(c, 3 * c, 1), conv(c, c, 1)
        self.factor = float(np.float32(1) / np.sqrt(np.float32(c)))

    def forward(self, x):
        n, c, height, width = x.shape
        h = self.norm(x)
        q, k, v = self.qkv(h).flatten(2).transpose(1, 2)[:, None].chunk(3, -1)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.factor)
        return merge(x, self.out(mixed[:, 0].transpose(1, 2).reshape(n, c, height, width)))


# ---- networks (unet.c, convnet.c, mlp.c) ----


class ResidualBlock(nn.Module):
    def __init__(self, c_in, c_out, embedding):
        super().__init__()
        self.norm1, self.conv1 = Norm(c_in, embedding), conv(c_in, c_out, 3)
        self.norm2, self.conv2 = Norm(c_out, embedding), conv(c_out, c_out, 3)
        if c_in != c_out:
            self.skip = conv(c_in, c_out, 1)

    def forward(self, x, e):
        h = self.conv2(self.norm2(self.conv1(self.norm1(x, e)), e))
        return merge(self.skip(x) if hasattr(self, "skip") else x, h)


class DenseStack(nn.Module):
    def __init__(self, c_in, embedding, layers):
        super().__init__()
        self.layers = layers
        for i in range(layers):
            self.add_module(f"dense{i}", nn.Linear(c_in if i == 0 else embedding, embedding))

    def forward(self, h):
        for i in range(self.layers):
            h = F.silu(getattr(self, f"dense{i}")(h))
        return h


class Latent(DenseStack):
    """z, normalised, through four dense layers."""

    def __init__(self, latent, embedding):
        super().__init__(latent, embedding, 4)
        self.share = f32(1 / np.float32(latent))

    def forward(self, z):
        mean_square = (z * z).sum(1, keepdim=True) * self.share + LATENT_EPS
        return super().forward(z * mean_square.rsqrt())


class Noise(DenseStack):
    """Products of picture and noise for each pixel, and their sums through two dense layers."""

    def __init__(self, c, features, embedding, pixels):
        super().__init__(features, embedding, 2)
        self.share = float(np.float32(1) / np.sqrt(np.float32(pixels)))
        self.picture, self.eps = conv(c, features, 1, bias=False), conv(c, features, 1, bias=False)

    def products(self, clean, eps):
        return self.picture(clean + 1) * self.eps(eps)

    def forward(self, products):
        return super().forward(products.sum((2, 3)) * self.share)


class UNet(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.a = a
        features = a.noise_features if a.condition_noise else 0
        e = a.embedding if a.latent or features else 0
        if a.latent:
            self.latent = Latent(a.latent, e)
        if features:
            self.noise = Noise(a.c, features, e, a.h * a.w)
        widths = [a.width * m for m in a.multipliers]
        self.add_module("in", to_patches(a.c * (2 if a.condition_noise else 1) + features, widths[0], a.patch))
        c, size, skips = widths[0], a.h // a.patch, [widths[0]]
        for level, out in enumerate(widths):
            side = self._side(f"down{level}")
            for i in range(a.blocks):
                self._stage(side, i, c, out, size, e)
                c = out
                skips.append(c)
            if level + 1 < len(widths):
                size //= 2
                skips.append(c)
        self.middle = nn.ModuleDict({"block0": ResidualBlock(c, c, e)})
        if a.attention:
            self.middle["attention"] = Attention(c)
        self.middle["block1"] = ResidualBlock(c, c, e)
        for level in reversed(range(len(widths))):
            side = self._side(f"up{level}")
            for i in range(a.blocks + 1):
                self._stage(side, i, c + skips.pop(), widths[level], size, e)
                c = widths[level]
            size *= 2
        self.out = from_patches(c, a.c, a.patch)
        self.out.norm = Norm(c, e)
        self.resample = Resample(a.filter)
        self.interpolate = Resample("fir") if a.noise_halvings else None

    def _side(self, name):
        self.add_module(name, nn.ModuleDict())
        return getattr(self, name)

    def _stage(self, side, i, c_in, c_out, size, e):
        side[f"block{i}"] = ResidualBlock(c_in, c_out, e)
        if size in self.a.attention:
            side[f"attention{i}"] = Attention(c_out)

    def _run_stage(self, side, i, h, e):
        h = side[f"block{i}"](h, e)
        return side[f"attention{i}"](h) if f"attention{i}" in side else h

    def _coarse(self, eps):
        for _ in range(self.a.noise_halvings):
            eps = 2 * F.avg_pool2d(eps, 2)
        for _ in range(self.a.noise_halvings):
            eps = self.interpolate.up(eps)
        return eps

    def _see(self, picture, eps, z):
        """The input's channels and the embedding."""
        seen, e = [picture], self.latent(z) if self.a.latent else None
        if self.a.condition_noise:
            eps = self._coarse(eps)
            seen.append(eps)
        if hasattr(self, "noise"):
            seen.append(self.noise.products(picture, eps))
            sums = self.noise(seen[-1])
            e = sums if e is None else e + sums
        return torch.cat(seen, 1) if len(seen) > 1 else picture, e

    def forward(self, smoothed, clean, eps, z):
        a, levels = self.a, len(self.a.multipliers)
        picture = clean if a.condition_noise else smoothed
        h, e = self._see(picture, eps, z)
        h = getattr(self, "in")(h)
        skips = [h]
        for level in range(levels):
            for i in range(a.blocks):
                h = self._run_stage(getattr(self, f"down{level}"), i, h, e)
                skips.append(h)
            if level + 1 < levels:
                h = self.resample.down(h)
                skips.append(h)
        h = self.middle["block0"](h, e)
        if a.attention:
            h = self.middle["attention"](h)
        h = self.middle["block1"](h, e)
        for level in reversed(range(levels)):
            for i in range(a.blocks + 1):
                h = self._run_stage(getattr(self, f"up{level}"), i, torch.cat([h, skips.pop()], 1), e)
            if level > 0:
                h = self.resample.up(h)
        h = self.out(self.out.norm(h, e))
        return picture + h if a.residual else h


class PotentialBlock(nn.Module):
    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv1, self.conv2, self.skip = conv(c_in, c_out, 3), conv(c_out, c_out, 3), conv(c_in, c_out, 1)

    def forward(self, x, down):
        h = self.conv2(lrelu(self.conv1(lrelu(x))))
        return merge(self.skip(down(x)), down(h))


class ConvPotential(nn.Module):
    def __init__(self, a):
        super().__init__()
        widths = [a.potential_width * m for m in a.potential_multipliers]
        if a.potential_features:
            self.colour = conv(a.c, a.potential_features, 1)
        self.add_module("in", to_patches(a.c + a.potential_features, widths[0], a.patch))
        for level in range(1, len(widths)):
            self.add_module(f"down{level}", PotentialBlock(widths[level - 1], widths[level]))
        self.last = PotentialBlock(widths[-1], widths[-1])
        self.out = nn.Linear(widths[-1], 1)
        self.resample = Resample(a.filter)
        self.levels = len(widths)

    def forward(self, y):
        if hasattr(self, "colour"):
            y = torch.cat([y, lrelu(self.colour(y))], 1)
        h = getattr(self, "in")(y)
        for level in range(1, self.levels):
            h = getattr(self, f"down{level}")(h, self.resample.down)
        return self.out(lrelu(self.last(h, lambda x: x)).sum((2, 3)))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dense1, self.dense2 = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h):
        return h + self.dense2(F.silu(self.dense1(F.silu(h))))


class Trunk(nn.Module):
    def __init__(self, c_in, width, blocks, c_out, sharpness):
        super().__init__()
        self.sharpness = sharpness
        self.add_module("in", nn.Linear(c_in, width))
        self.blocks = blocks
        for i in range(blocks):
            self.add_module(f"block{i}", Block(width))
        self.out = nn.Linear(width, c_out)

    def forward(self, x):
        h = getattr(self, "in")(x)
        for i in range(self.blocks):
            h = getattr(self, f"block{i}")(h)
        return self.out(F.silu(h)) / self.sharpness


class MlpTransport(Trunk):
    def __init__(self, a):
        seen = a.c * (2 if a.condition_noise else 1) + a.latent
        super().__init__(seen, a.width, a.blocks, a.c, a.sharpness)
        self.a = a
        if a.residual:
            self.skip = nn.Linear(a.c + a.latent, a.c, bias=False)

    def forward(self, smoothed, clean, eps, z):
        latent = [z] * (self.a.latent > 0)
        seen = torch.cat([smoothed] + [eps] * self.a.condition_noise + latent, 1)
        y = super().forward(seen)
        if not self.a.residual:
            return y
        straight = [clean if self.a.condition_noise else smoothed] + latent
        return y + self.skip(torch.cat(straight, 1))


class MlpPotential(Trunk):
    def __init__(self, a):
        super().__init__(a.c, a.potential_width, a.potential_blocks, 1, a.potential_sharpness)
        self.quadratic = nn.Module() if a.potential_quadratic else None
        if self.quadratic:
            self.quadratic.add_module("in", nn.Linear(a.c, a.potential_quadratic))
            self.quadratic.out = nn.Linear(a.potential_quadratic, 1)

    def forward(self, y):
        value = super().forward(y)
        return value + self.quadratic.out(getattr(self.quadratic, "in")(y).square()) if self.quadratic else value


def transport_network(a):
    return MlpTransport(a) if a.vectors else UNet(a)


def potential_network(a):
    return MlpPotential(a) if a.vectors else ConvPotential(a)


# ---- layouts ----


def to_otplan(tensor):
    """A parameter, or anything of its shape, as a numpy array of otplan's rank and order."""
    t = tensor.detach().cpu()
    if t.dim() == 4:
        t = t.permute(0, 2, 3, 1)
    return np.ascontiguousarray(t.reshape((1,) * (4 - t.dim()) + tuple(t.shape)).numpy())


def from_otplan(array, shape):
    """The inverse, given the shape here."""
    if len(shape) == 4:
        return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))
    return torch.from_numpy(array.reshape(tuple(shape)))


# ---- losses (objective.c) and the update (kernels/scalar.h) ----


@dataclass
class Objective:
    tau: float
    batch: int
    g: str = "linear"  # softplus: the unbalanced form
    cost_from_clean: bool = False
    refine: int = 0

    def __post_init__(self):
        self.scale, self.share, self.softplus_at_0 = f32(self.tau), f32(1 / np.float32(self.batch)), f32(1.38629436112)

    def apply_g(self, s):
        if self.g == "softplus":
            return 2 * F.softplus(s) - self.softplus_at_0
        return torch.exp(s) - 1 if self.g == "kl" else s

    def cost(self, x, smoothed, y):
        return self.scale * ((x if self.cost_from_clean else smoothed) - y).square().flatten(1).sum(1, keepdim=True)


def smooth(x, eps, keep, sigma):
    """keep, sigma: numbers that float32 holds."""
    return x * keep + eps * sigma


def transport_loss(o, t, v, x, eps, z, keep, sigma):
    """Also the report: loss, |x - T|^2 from the clean source, V(T), 0."""
    smoothed = smooth(x, eps, keep, sigma)
    y = t(smoothed, x, eps, z)
    value = v(y)
    loss = (o.cost(x, smoothed, y) - value).sum() * o.share
    return loss, (loss, (x - y).square().sum() * o.share, value.sum() * o.share, loss.new_zeros(()))


def refine(o, v, origin, starts):
    """src/ot/refine.c's: of Newton steps on what T minimises from each start, the best answers to v."""

    def inner(a, b):
        return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.dim() - 1))

    def ratio(a, b):
        return a / (b + 1e-20)

    def answer_at(y):
        y = y.detach().requires_grad_()
        cost = o.scale * inner(origin - y, origin - y) - v(y).reshape(-1, *[1] * (y.dim() - 1))
        return y.detach(), cost.detach(), torch.autograd.grad(cost.sum(), y)[0]

    def better_of(now, following):
        better = following[1] < now[1]
        return better, tuple(torch.where(better, b, a) for a, b in zip(now, following))

    def newton_way(y, _, slope):
        ahead = np.float32(0.02) / np.float32(o.tau)
        ahead, per_ahead = f32(ahead), f32(1 / ahead)
        direction, way = -slope, torch.zeros_like(y)
        for _ in range(2):
            bend = (answer_at(y + way + ahead * direction)[2] - slope) * per_ahead
            curvature = torch.maximum(inner(direction, bend), o.scale * inner(direction, direction))
            length = ratio(-inner(slope, direction), curvature)
            way = way + length * direction
            following = slope + length * bend
            direction = ratio(inner(following, following), inner(slope, slope)) * direction - following
            slope = following
        return way

    def refine_from(start):
        now = answer_at(start)
        share = torch.ones_like(now[1])
        for _ in range(o.refine):
            better, now = better_of(now, answer_at(now[0] + share * newton_way(*now)))
            share = torch.where(better, share, 0.25 * share)
        return now

    best = refine_from(starts[0])
    for start in starts[1:]:
        best = better_of(best, refine_from(start))[1]
    return best[0]


def potential_loss(o, t, v, x, y, eps, z, keep, sigma, r1=0, together=False):
    """Also the report: loss without R1, E|grad V|^2, V(T), V(y). With R1, V sees both batches apart, which is faster
    here, or together, as otplan's does of pictures."""
    smoothed = smooth(x, eps, keep, sigma)
    with torch.no_grad():
        made = t(smoothed, x, eps, z)
        opposite = t(smooth(x, -eps, keep, sigma), x, -eps, z) if o.refine else None
    if o.refine:
        made = refine(o, v, x if o.cost_from_clean else smoothed, [made, opposite])
    if r1:
        y = y.detach().requires_grad_()
    if r1 and not together:
        fake, real = v(made), v(y)
    else:
        fake, real = v(torch.cat([made, y])).chunk(2)
    gain = fake if o.g == "linear" else fake - o.cost(x, smoothed, made)
    loss = (o.apply_g(gain) + o.apply_g(-real)).sum() * o.share
    total, slope = loss, loss.new_zeros(())
    if r1:
        (grad,) = torch.autograd.grad(real.sum(), y, create_graph=True)
        slope = grad.square().sum() * o.share
        total = loss + 0.5 * f32(r1) * slope
    return total, (loss, slope, fake.sum() * o.share, real.sum() * o.share)


class Adam:
    """Adam, and EMA where a decay is given, as kernels/scalar.h writes them."""

    def __init__(self, network, beta1, beta2):
        self.parameters = list(network.parameters())
        self.beta1, self.beta2, self.count = beta1, beta2, 0
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]
        self.ema = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self, grads, rate, ema):
        self.count += 1
        correct1, correct2 = (f32(1 / (1 - b**self.count)) for b in (self.beta1, self.beta2))
        b1, b2, eps = f32(self.beta1), f32(self.beta2), f32(1e-8)
        for p, m, v, average, g in zip(self.parameters, self.m, self.v, self.ema, grads):
            m.mul_(b1).add_(g, alpha=1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            p.sub_(f32(rate) * (m * correct1) / ((v * correct2).sqrt() + eps))
            average.mul_(f32(ema)).add_(p, alpha=1 - f32(ema))
