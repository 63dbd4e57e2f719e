"""One PyTorch process that bench_pytorch.py measures beside otplan: the same steps in several variants.

  torch_rival.py REPLAY PRESET BATCH PRECISION DEVICE THREADS CLOCK [KEY=VALUE]...      CLOCK: wall or processor

REPLAY is the test program of that name, which says what the preset means.

Reads a command a line on stdin and answers each with a JSON object in a line:
  prepare VARIANT    builds it, warms it up, measures its peak memory; or "error"
  measure SECONDS    milliseconds of each part it has, each measured for so long

Each part is a whole step: draw noise, forward, backward, Adam and, for the generator, EMA. A captured or
compiled variant has the parts that it can have: torch.compile has no double backward, so none of its
variants has potential_r1.
"""
import json
import os
import sys
import time
from pathlib import Path

WARM_UP = 3


class Rival:
    """Networks, optimisers and one batch on the device; each part as a function that does one step."""

    def __init__(self, program, preset, batch, precision, device, clock=time.perf_counter, changes=()):
        import torch
        from torch_case import Case, allow_tf32

        self.torch, self.precision, self.cuda = torch, precision, device.startswith("cuda")
        allow_tf32(precision == "tf32")
        self.case, self.clock = Case(program, preset, batch, device, changes=changes), clock
        self.x, self.y = self.case.x[0], self.case.y[0]
        betas = float(self.case.config["beta1"]), float(self.case.config["beta2"])
        self.adam_t, self.adam_v = (
            torch.optim.Adam(n.parameters(), lr=1e-5, betas=betas, fused=True, capturable=self.cuda)
            for n in (self.case.t, self.case.v)
        )
        self.ema = [p.detach().clone() for p in self.case.t.parameters()]

    def wait(self):
        if self.cuda:
            self.torch.cuda.synchronize()

    def draw(self):
        eps, latent = self.torch.randn_like(self.x), self.case.a.latent
        return eps, self.torch.randn(len(self.x), latent, device=self.x.device) if latent else None

    # ---- losses: what torch.compile gets ----

    def transport_loss(self, eps, z):
        with self.case.autocast(self.precision):
            return self.case.loss("transport", self.case.t, self.case.v, self.x, self.y, eps, z)[0]

    def potential_loss(self, eps, z):
        with self.case.autocast(self.precision):
            return self.case.loss("potential", self.case.t, self.case.v, self.x, self.y, eps, z)[0]

    def potential_r1_loss(self, eps, z):
        with self.case.autocast(self.precision):
            return self.case.loss("potential_r1", self.case.t, self.case.v, self.x, self.y, eps, z)[0]

    # ---- steps ----

    def step(self, part, change=lambda loss: loss):
        loss = change(getattr(self, f"{part}_loss"))
        transport = part == "transport"
        adam = self.adam_t if transport else self.adam_v

        def run():
            self.case.v.requires_grad_(not transport)
            loss(*self.draw()).backward()
            adam.step()
            adam.zero_grad(set_to_none=True)
            if transport:
                with self.torch.no_grad():
                    self.torch._foreach_lerp_(self.ema, list(self.case.t.parameters()), 0.01)

        return run

    def captured(self, run, pool):
        """The whole step as one CUDA graph."""
        cuda = self.torch.cuda
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(WARM_UP):
                run()
        cuda.current_stream().wait_stream(stream)
        graph = cuda.CUDAGraph()
        cuda.reset_peak_memory_stats()
        with cuda.graph(graph, pool=pool):
            run()
        self.capture_peak = max(self.capture_peak, cuda.max_memory_allocated())
        return graph.replay

    # ---- variants: dictionaries of steps by part ----

    def eager(self):
        self.torch.backends.cudnn.benchmark = False
        return {part: self.step(part) for part in ("transport", "potential", "potential_r1")}

    def eager_benchmark(self):
        """cuDNN times its algorithms."""
        parts = self.eager()
        self.torch.backends.cudnn.benchmark = True
        return parts

    def graph(self):
        return self._capture(self.eager_benchmark())

    def _capture(self, parts):
        if not self.cuda:
            raise RuntimeError("CUDA graphs need a CUDA device")
        pool, self.capture_peak = self.torch.cuda.graph_pool_handle(), 0
        return {part: self.captured(run, pool) for part, run in parts.items()}

    def _compiled(self, mode):
        self.torch.backends.cudnn.benchmark = True
        begin = getattr(self.torch.compiler, "cudagraph_mark_step_begin", lambda: None)

        def change(loss):
            compiled = self.torch.compile(loss, mode=mode, fullgraph=True, dynamic=False)

            def call(*noise):
                begin()
                return compiled(*noise)

            return call if mode in ("reduce-overhead", "max-autotune") else compiled

        return {part: self.step(part, change) for part in ("transport", "potential")}

    def compile_default(self):
        return self._compiled("default")

    def compile_default_graph(self):
        return self._capture(self.compile_default())

    def compile_reduce_overhead(self):
        return self._compiled("reduce-overhead")

    def compile_max_autotune(self):
        return self._compiled("max-autotune")

    def compile_max_autotune_graph(self):
        return self._capture(self._compiled("max-autotune-no-cudagraphs"))

    # ---- measuring ----

    def time_runs(self, run, seconds):
        """Seconds a run: the median over blocks of runs, each waited for once."""
        self.wait()
        run()
        self.wait()
        start = self.clock()
        run()
        self.wait()
        once, blocks = self.clock() - start, []
        count = max(1, int(seconds / 5 / once))
        for _ in range(5 if once < seconds else 3):
            start = self.clock()
            for _ in range(count):
                run()
            self.wait()
            blocks.append((self.clock() - start) / count)
        return sorted(blocks)[len(blocks) // 2]

    def choose_resampling(self):
        """PyTorch's faster way to filter channel by channel, forward and backward, at the first level's size."""
        import torch_model

        a, torch = self.case.a, self.torch
        if a.filter != "fir" or not self.cuda:
            return "depthwise"
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        x = torch.randn(len(self.x), a.width, a.h // a.patch, a.w // a.patch, device=self.x.device, dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        resample, times = torch_model.Resample("fir").to(x.device), {}
        for dense in (False, True):
            torch_model.Resample.dense = dense
            times[dense] = self.time_runs(lambda: resample.up(resample.down(x)).sum().backward(), 0.1)
        torch_model.Resample.dense = times[True] < times[False]
        return "dense" if torch_model.Resample.dense else "depthwise"


class Server:
    def __init__(self, rival):
        self.rival, self.parts = rival, {}

    def prepare(self, variant):
        rival, torch = self.rival, self.rival.torch
        self.parts = {}
        torch.compiler.reset()
        if rival.cuda:
            torch.cuda.empty_cache()
        start = time.perf_counter()
        self.parts = getattr(rival, variant)()
        for run in self.parts.values():
            for _ in range(WARM_UP):
                run()
        rival.wait()
        seconds = time.perf_counter() - start
        return {"prepare_s": seconds, "parts": list(self.parts), "peak_bytes": self.measure_peak(variant)}

    def measure_peak(self, variant):
        """Of steps in their stride: what cuDNN's and the compiler's trials took before does not count. A graph
        of ours took it when it was captured; what the compiler's own graphs hold cannot be seen."""
        rival, cuda = self.rival, self.rival.torch.cuda
        if not rival.cuda or variant in ("compile_reduce_overhead", "compile_max_autotune"):
            return None
        if variant.endswith("graph"):
            return rival.capture_peak
        cuda.reset_peak_memory_stats()
        for run in self.parts.values():
            run()
        rival.wait()
        return cuda.max_memory_allocated()

    def measure(self, seconds):
        return {part: 1e3 * self.rival.time_runs(run, float(seconds)) for part, run in self.parts.items()}

    def answer(self, line):
        name, *words = line.split()
        try:
            return getattr(self, name)(*words)
        except Exception as error:  # whatever PyTorch's compilers raise: the next variant may do
            lines = str(error).strip().splitlines() or [""]
            return {"error": f"{type(error).__name__}: {lines[0][:300]}"}


def main():
    program, preset, batch, precision, device, threads, clock, *changes = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # compilers print
    os.environ["OMP_NUM_THREADS"] = threads  # before PyTorch is loaded
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import torch

    torch.set_num_threads(int(threads))
    clock = time.process_time if clock == "processor" else time.perf_counter
    rival = Rival(program, preset, int(batch), precision, device, clock, [change.split("=", 1) for change in changes])
    server = Server(rival)
    hello = {"pytorch": torch.__version__, "cudnn": torch.backends.cudnn.version() if rival.cuda else None, "resampling": rival.choose_resampling()}
    print(json.dumps(hello), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(server.answer(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
