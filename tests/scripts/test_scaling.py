"""scripts/scaling on two presets: its rows follow from the counted calls by the arithmetic of docs/scaling.md."""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def scaled(preset, build):
    done = subprocess.run([ROOT / "scripts/scaling", "--preset", preset, "--json", "--build", build], check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout)


def close(a, b):
    assert abs(a - b) <= 1e-9 * abs(b), (a, b)


def check(p, in_buckets):
    weights = sum(p["weights"].values())
    assert [r["gpus"] for r in p["weak"]] == [2**i for i in range(11)]
    assert p["strong"][-1]["each"] == 1 and all(r["batch"] == p["batch"] for r in p["strong"])
    for r in p["weak"] + p["strong"]:
        close(r["sent_mb"] + 1, 1 + 1e-6 * 8 * weights * (r["gpus"] - 1) / r["gpus"])
        for name, f in r["fabrics"].items():
            close(f["ms"], r["compute_ms"] + f["sums_ms"] + f["weights_ms"] + f["small_ms"])
            assert (f["weights_ms"] == 0) == (r["gpus"] == 1), name
    # Two machines of 8 over 100 Gb/s, 0.7 of it: half of 4 W out, beside 7/8 at 360 GB/s inside, in two updates.
    sixteen = p["weak"][4]["fabrics"]["Ethernet"]
    wire = 1e3 * 4e-9 * weights * (1 / 2 / (12.5 * 0.7) + 7 / 8 / (450 * 0.8))
    rounds = 3 * 3e-3 + 30e-3
    close(sixteen["weights_ms"], wire + 2 * rounds)
    close(sixteen["small_ms"], 2 * 2 * rounds)
    if in_buckets:  # the same bytes, some of them behind the backward pass; each bucket goes around the ring
        assert sixteen["hidden_ms"] > 0 and sixteen["sums_ms"] + sixteen["hidden_ms"] > wire
    else:
        assert sixteen["hidden_ms"] == 0
        close(sixteen["sums_ms"], wire + 2 * rounds)
    times = [r["fabrics"]["Ethernet"]["ms"] for r in p["weak"][3:]]
    assert times == sorted(times)


for name, in_buckets in (("64", True), ("quickstart", False)):
    check(scaled(name, sys.argv[1]), in_buckets)
