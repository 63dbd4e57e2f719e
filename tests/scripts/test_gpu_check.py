"""What scripts/gpu_check makes of programs that break, hang or are missing: fakes of otplan and its test programs, a
line or two of shell each. Without site-packages, so that PyTorch is missing wherever this runs."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
from stages import Failed, Folder, Runner, Skipped  # noqa: E402

OPS = [line[3:].split(",")[0] for line in (SCRIPTS.parent / "src/graph/ops.def").read_text().splitlines() if line.startswith("OP(")]
NO_TORCH = [sys.executable, "-I", "-S"]

# bench notes its environment in `seen`; train and translate do what is looked at afterwards.
OTPLAN = """
for word; do [ "$before" = --out ] && out=$word; before=$word; done
case $1 in
--version) echo "otplan fake" ;;
bench)
	echo "$* compiled=$OTPLAN_CUDA_COMPILED cache=$XDG_CACHE_HOME" >>"$FAKES/seen"
	case "$*" in
	*--json*) echo '{"step_ms": 3, "floor_ms": 2, "peak_bytes": 1}' ;;
	*) echo "transport step: conv2d 60 %" ;;
	esac ;;
train)
	/bin/mkdir -p "$out"
	k=0
	while [ $k -lt 50 ]; do
		echo '{"loss_potential": 1, "loss_transport": 2, "cost": 3}'
		k=$((k + 1))
	done >"$out/metrics.jsonl" ;;
translate) /bin/mkdir -p "$4"; echo picture >"$4/0.png" ;;
esac
"""
GOOD_OPS = 'echo "1 ops, 1 cases, 1 checks, 0 failed"'
DEVICE = """echo '{"name": "Fake GPU", "multiprocessors": 1, "cudnn": 9}'"""
HANGS = '/bin/sleep 100 &\necho $! >"$FAKES/pid"\nwait'


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.fakes, self.out = Path(self.folder.name) / "build", Path(self.folder.name) / "out"
        (self.fakes / "tests").mkdir(parents=True)
        (self.fakes / "otplan_cuda.so").touch()
        for name, text in (("otplan", OTPLAN), ("tests/check_ops", GOOD_OPS), ("tests/cuda_device", DEVICE)):
            self.fake(name, text)

    def fake(self, name, text):
        file = self.fakes / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def start(self, *words, path=None, device="cuda"):
        command = [*NO_TORCH, SCRIPTS / "gpu_check", "--build", self.fakes, "--out", self.out, "--device", device, *words]
        environment = {**os.environ, "FAKES": str(self.fakes), "PATH": path or os.environ["PATH"]}
        environment.pop("OTPLAN_CUDA_COMPILED", None)
        return subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )

    def check(self, *words, code=0, **settings):
        """The results by stage."""
        program = self.start(*words, **settings)
        self.said = program.communicate(timeout=60)[0]
        self.assertEqual(program.returncode, code, self.said)
        return self.results()

    def results(self):
        stages = json.loads((self.out / "results.json").read_text())["stages"]
        by_name = {s["stage"]: s for s in stages}
        self.assertEqual(len(by_name), len(stages))
        return by_name

    def verdicts(self, stages):
        return {name: stage["verdict"] for name, stage in stages.items()}

    def assert_gone(self):
        """What hung was ended: it is dead, or nobody has read its exit code yet."""
        status = Path(f"/proc/{(self.fakes / 'pid').read_text().strip()}/status")
        for _ in range(50):
            if not status.exists() or "State:\tZ" in status.read_text():
                return
            time.sleep(0.05)
        self.fail("what the stage had started still runs")


class TestGpuCheck(Case):
    PART_1 = ["device", "bench", "ops", "gradients-bf16", "pytorch", "repeat", "call-by-call"]

    def test_part_1_in_its_order(self):
        stages = self.check()
        self.assertEqual(list(stages), self.PART_1)
        self.assertEqual({name for name, s in stages.items() if s["verdict"] == "skipped"}, {"gradients-bf16", "pytorch"})
        self.assertEqual({s["verdict"] for s in stages.values()}, {"passed", "skipped"})
        self.assertIn("no PyTorch", stages["pytorch"]["detail"])
        self.assertIn("Fake GPU", stages["device"]["detail"])
        self.assertIn("conv2d 60 %", (self.out / "results.md").read_text())
        seen = (self.fakes / "seen").read_text().splitlines()
        for line in seen:  # nothing compiled, the headline's size, caches in the folder of results
            self.assertIn("--preset 64 --batch 64", line)
            self.assertIn(f"compiled=0 cache={self.out.resolve()}/caches", line)
        self.assertEqual(len(seen), 2)

    def test_part_2_compiles_and_one_size_that_fails_leaves_the_others(self):
        self.fake("bin/compute-sanitizer", "exit 0")
        self.fake("otplan", f"case \"$*\" in *'--preset 128'*) echo out of memory >&2; exit 1 ;; esac\n{OTPLAN}")
        path = f"{self.fakes}/bin:{os.environ['PATH']}"
        stages = self.check("--part", 2, "--skip", "networks", "--skip", "engine", "--skip", "quickstart", code=1, path=path)
        self.assertEqual(self.verdicts(stages)["sizes"], "failed")
        self.assertIn("128 x16: exit code 1: out of memory", stages["sizes"]["detail"])
        for size in ("32 x64 3.00 ms", "64 x16 3.00 ms", "256 x8 3.00 ms"):
            self.assertIn(size, stages["sizes"]["detail"])
        self.assertIn("clean: norm_sums norm_stats sum", stages["racecheck"]["detail"])
        self.assertIn("compiled= ", (self.fakes / "seen").read_text())

    def test_a_bug_of_a_stage_is_its_result(self):
        self.fake("otplan", f"[ $1 = bench ] && echo '{{\"floor_ms\": 1}}' && exit 0\n{OTPLAN}")
        stages = self.check(code=1)
        self.assertEqual(list(stages), self.PART_1)
        self.assertRegex(stages["bench"]["detail"], r"^KeyError: 'step_ms' \(gpu_check:\d+\)$")
        self.assertIn("Traceback", (self.out / "logs/bench.txt").read_text())
        self.assertEqual(self.verdicts(stages)["repeat"], "passed")

    def test_missing_tools_are_said(self):
        stages = self.check(path="/nonexistent")
        for tool in ("git", "nvidia-smi", "compute-sanitizer"):
            self.assertIn(f"no {tool}", stages["device"]["detail"])
        self.assertEqual(self.verdicts(stages)["call-by-call"], "passed")
        self.assertIsNone(stages["bench"]["commit"])

    def test_missing_programs_are_results(self):
        for name in ("tests/check_ops", "tests/cuda_device"):
            (self.fakes / name).unlink()
        stages = self.check(code=1)
        self.assertIn("FileNotFoundError", stages["ops"]["detail"])
        self.assertEqual(self.verdicts(stages)["bench"], "passed")

    def test_nothing_to_check(self):
        (self.fakes / "otplan_cuda.so").unlink()
        program = self.start()
        said = program.communicate()[0]
        self.assertEqual(program.returncode, 2)
        self.assertEqual(len(said.splitlines()), 1)

    def test_time_bounds_what_comes_before_the_stages(self):
        self.fake("otplan", f"[ $1 = --version ] && exec /bin/sleep 30\n{OTPLAN}")
        program = self.start("--minutes", 0.02)
        self.assertIn("the time was over before the first stage", program.communicate(timeout=10)[0])
        self.assertEqual(program.returncode, 2)

    def test_the_op_that_dies_is_named(self):
        self.fake("tests/check_ops", f"case $3 in ''|softmax) kill -SEGV $$ ;; sum) echo fatal; exit 1 ;; esac\n{GOOD_OPS}")
        stages = self.check(code=1)
        detail = stages["ops"]["detail"]
        self.assertIn("together: ended by SIGSEGV", detail)
        self.assertIn("softmax: ended by SIGSEGV", detail)
        self.assertIn("sum: exit code 1: fatal", detail)
        self.assertIn(f"{len(OPS) - 2} of {len(OPS)} passed", detail)
        self.assertEqual(sorted(name for name, v in stages["ops"]["found"]["alone"].items() if v != "passed"), ["softmax", "sum"])
        self.assertEqual(self.verdicts(stages)["repeat"], "passed")

    def test_ops_that_are_wrong_are_named_without_a_second_run(self):
        self.fake("tests/check_ops", 'echo run >>"$FAKES/runs"\necho "FAILED conv2d(1x1): off"\necho "1 ops, 1 cases, 1 checks, 1 failed"; exit 1')
        stages = self.check("--only", "ops", code=1)
        self.assertEqual(stages["ops"]["detail"], "1 ops, 1 cases, 1 checks, 1 failed: conv2d")
        self.assertEqual((self.fakes / "runs").read_text(), "run\n")

    def test_losses_that_differ_fail(self):
        self.fake("otplan", OTPLAN.replace("'{\"loss_potential\": 1", "'{\"loss_potential\": '${OTPLAN_CUDA_GRAPHS:-1}'"))
        stages = self.check("--only", "call-by-call", "--only", "repeat", code=1)
        self.assertIn("losses differ", stages["call-by-call"]["detail"])
        self.assertEqual(self.verdicts(stages)["repeat"], "passed")

    def test_a_refused_capture_is_no_comparison(self):
        self.fake("otplan", f"[ $1 = train ] && echo 'otplan: cuda: a step cannot be captured: no memory'\n{OTPLAN}")
        stages = self.check("--only", "call-by-call", code=1)
        self.assertEqual(stages["call-by-call"]["detail"], "otplan: cuda: a step cannot be captured: no memory")

    def test_a_later_call_replaces_what_it_runs(self):
        self.check("--only", "bench", "--only", "ops")
        (self.out / "caches/kept").touch()
        self.fake("tests/check_ops", 'echo "1 ops, 1 cases, 2 checks, 0 failed"')
        stages = self.check("--only", "ops", "--only", "repeat")
        self.assertEqual(list(stages), ["bench", "ops", "repeat"])
        self.assertIn("2 checks", stages["ops"]["detail"])
        self.assertTrue((self.out / "caches/kept").exists())

    def test_unreadable_results_are_put_aside(self):
        self.out.mkdir()
        (self.out / "results.json").write_text('{"stages": [')
        self.assertEqual(list(self.check("--only", "bench")), ["bench"])
        self.assertEqual((self.out / "results-unreadable.json").read_text(), '{"stages": [')

    def test_time_bounds_everything(self):
        self.assertEqual(self.verdicts(self.check("--only", "call-by-call"))["call-by-call"], "passed")
        self.fake("otplan", f"[ $1 = train ] && {{ {HANGS}\n}}\n{OTPLAN}")
        start = time.monotonic()
        stages = self.check("--only", "repeat", "--only", "call-by-call", "--minutes", 0.12, code=1)
        self.assertLess(time.monotonic() - start, 60 * 0.12)
        self.assertEqual(self.verdicts(stages)["repeat"], "overran")
        self.assertEqual(self.verdicts(stages)["call-by-call"], "passed")  # of the first call: this one did not begin it
        self.assertIn("call-by-call    not begun: no time left", self.said)
        self.assert_gone()

    def test_ops_that_hang_are_found(self):
        self.fake("tests/check_ops", f"case $3 in ''|copy) {HANGS} ;; esac\n{GOOD_OPS}")
        stages = self.check("--only", "ops", "--minutes", 0.15, code=1)
        self.assertIn("copy: ended after", stages["ops"]["detail"])
        self.assert_gone()

    def test_a_signal_leaves_what_was_found(self):
        self.fake("tests/check_ops", f"echo begun\n{HANGS}")
        program = self.start()
        for _ in range(200):
            if (self.fakes / "pid").exists():
                break
            time.sleep(0.05)
        program.send_signal(signal.SIGTERM)
        said = program.communicate(timeout=20)[0]
        self.assertEqual(program.returncode, 128 + signal.SIGTERM, said)
        self.assertEqual(self.verdicts(self.results()), {"device": "passed", "bench": "passed", "ops": "stopped"})
        self.assertIn("by SIGTERM: begun", self.results()["ops"]["detail"])
        self.assert_gone()


class TestRunner(unittest.TestCase):
    def test_whatever_a_stage_raises_is_its_result(self):
        def raises(error):
            raise error

        def swallows():
            try:
                time.sleep(30)
            except Exception:
                time.sleep(30)

        works = {
            "good": (lambda: "fine", "passed", "fine"),
            "missing": (lambda: raises(Skipped("no tool")), "skipped", "no tool"),
            "wrong": (lambda: raises(Failed("off by one")), "failed", "off by one"),
            "bug": (lambda: 1 // 0, "failed", "ZeroDivisionError"),
            "exit": (lambda: sys.exit(3), "failed", "SystemExit: 3"),
            "memory": (lambda: raises(MemoryError()), "failed", "MemoryError"),
            "deep": (lambda f=[]: f.append(lambda: f[0]()) or f[0](), "failed", "RecursionError"),
            "hangs": (swallows, "overran", "no output"),
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            runner = Runner(Folder(Path(folder)), {"device": "none"}, {}, 60, time.monotonic())
            start = time.monotonic()
            for name, (work, _, _) in works.items():
                runner.stage(name, 0.3, work)
            self.assertLess(time.monotonic() - start, 10)
            stages = json.loads((Path(folder) / "results.json").read_text())["stages"]
        self.assertTrue(runner.went_wrong)
        for stage, (name, (_, verdict, detail)) in zip(stages, works.items()):
            self.assertEqual((stage["stage"], stage["verdict"]), (name, verdict))
            self.assertIn(detail, stage["detail"])
        self.assertEqual(len(stages), len(works))


if __name__ == "__main__":
    unittest.main()
