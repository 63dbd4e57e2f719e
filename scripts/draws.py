"""The random draws of src/core/rng.h and kernels/scalar.h in numpy, bit for bit as `ref` makes them.

Used by tests/golden/make_fixtures.py and scripts/bench_pytorch.py.
"""
import numpy as np

PURPOSE_EPS, PURPOSE_LATENT = 1, 2


def philox(counter, key):
    """Philox4x32-10 (Salmon et al., SC 2011); counter (..., 4) and key (..., 2) of uint32."""
    x = [counter[..., i].astype(np.uint64) for i in range(4)]
    k = [key[..., i].astype(np.uint64) for i in range(2)]
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * x[0], np.uint64(0xCD9E8D57) * x[2]
        x = [(b >> np.uint64(32)) ^ x[1] ^ k[0], b & low, (a >> np.uint64(32)) ^ x[3] ^ k[1], a & low]
        k = [(k[0] + np.uint64(0x9E3779B9)) & low, (k[1] + np.uint64(0xBB67AE85)) & low]
    return np.stack(x, -1).astype(np.uint32)


def check_philox():
    """kat_vectors of the Random123 distribution, philox 4x32 10."""
    for counter, key, want in (
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
         [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ):  # fmt: skip
        got = philox(np.array(counter, np.uint32), np.array(key, np.uint32))
        assert (got == np.array(want, np.uint32)).all(), f"philox: {got} is not {want}"


def unit_float(u):
    return ((u >> 9).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def horner(x, coefficients):
    p = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        p = p * x + np.float32(c)
    return p


def log_f32(x):
    """otp_log_f, operation for operation."""
    m, e = np.frexp(x)
    e = e.astype(np.float32)
    low = np.where(m < np.float32(0.707106781186547524), np.float32(1), np.float32(0))
    e, m = e - low, m + low * m - np.float32(1)
    z = m * m
    p = horner(m, [7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
                   -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1])  # fmt: skip
    p = p * m * z - np.float32(2.12194440e-4) * e - np.float32(0.5) * z
    return m + p + np.float32(0.693359375) * e


def sincos_turns_f32(u):
    """otp_sincos_turns_f, operation for operation."""
    four = np.float32(4) * u
    q = (four + np.float32(0.5)).astype(np.int32)
    t = (four - q.astype(np.float32)) * np.float32(1.57079632679489662)
    z = t * t
    s = horner(z, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]) * z * t + t
    c = horner(z, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]) * z * z
    c = c - np.float32(0.5) * z + np.float32(1)
    across, along = np.where(q & 1, c, s), np.where(q & 1, s, c)
    return np.where(q & 2, -across, across), np.where((q + 1) & 2, -along, along)


def normals(seed, samples, draw, purpose, count):
    """As otplan draws them in float32, and by their definition in float64: (samples, count) each."""
    blocks = (count + 3) // 4
    counter = np.zeros((samples, blocks, 4), np.uint32)
    counter[..., 0] = np.arange(blocks)
    counter[..., 1] = purpose
    counter[..., 2] = np.arange(samples)[:, None]
    counter[..., 3] = draw
    key = np.broadcast_to(np.array([seed & 0xFFFFFFFF, seed >> 32], np.uint32), (samples, blocks, 2))
    u = unit_float(philox(counter, key)).reshape(samples, blocks, 2, 2)

    radius = np.sqrt(np.float32(-2) * log_f32(u[..., 0]))
    sine, cosine = sincos_turns_f32(u[..., 1])
    ours = np.stack([radius * cosine, radius * sine], -1).reshape(samples, -1)[:, :count]
    radius, angle = np.sqrt(-2 * np.log(u[..., 0].astype(np.float64))), 2 * np.pi * u[..., 1].astype(np.float64)
    exact = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).reshape(samples, -1)[:, :count]
    assert ours.dtype == np.float32
    return ours, exact
