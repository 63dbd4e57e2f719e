"""Stages of a check, run one after another within a time: nothing that one does ends another.

Whatever a stage raises is its result, a bug in its own code too. Results are written after every stage, so that
a call that is ended leaves what it found. They lie in one folder, which a later call may take up again: what it
runs anew replaces what was there, stage by stage.

  results.json, results.md    what every stage found
  logs/STAGE.txt              what its programs printed, and the traceback where its own code broke
  caches/                     what otplan, PyTorch and CUDA would otherwise keep in the home folder
"""
import json
import os
import signal
import subprocess
import time
import traceback
from pathlib import Path

LEAST_S = 3  # a stage with less is not begun
KEPT_S = 20  # for each stage that is still to come
GRACE_S = 2  # of the whole time, for writing results


class Skipped(Exception):
    """Something that the stage needs is missing here."""


class Failed(Exception):
    """What the stage found is wrong."""


class Overran(BaseException):
    """The stage's time is over. No stage's `except Exception` may catch it."""


class Interrupted(BaseException):
    """A signal asks the whole check to end."""


class Died(Failed):
    """A program ended by a signal or with an exit code other than 0; `output` is all that it printed."""

    def __init__(self, code, output):
        super().__init__(f"{describe_exit(code)}: {last_line(output)}")
        self.code, self.output = code, output


def describe_exit(code):
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "(no output)"


def where_it_broke(error):
    """The last line of the traceback, and the line of code that it is about."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return last_line("".join(traceback.format_exception_only(type(error), error))) + place


def write_whole(path, text):
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def write_json(path, value):
    write_whole(path, json.dumps(value, indent=1) + "\n")


class Folder:
    """Results, logs and caches."""

    def __init__(self, path):
        self.path = path.resolve()
        for name in ("logs", "caches"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self.json, self.table = self.path / "results.json", self.path / "results.md"

    def environment(self):
        caches = self.path / "caches"
        return {
            "OTPLAN_CUDA_CACHE": str(caches / "otplan"), "XDG_CACHE_HOME": str(caches), "CUDA_CACHE_PATH": str(caches / "cuda"),
            "TRITON_CACHE_DIR": str(caches / "triton"), "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        }  # fmt: skip

    def read_stages(self):
        """What earlier calls found. A file that is no such thing is put aside, not written over."""
        try:
            stages = json.loads(self.json.read_text())["stages"]
            return [s for s in stages if s["stage"] and s["verdict"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, OSError):
            self.json.replace(self.json.with_name("results-unreadable.json"))
            return []


class Runner:
    """about: what is checked, as text by key; it is noted beside every result. seconds: for everything, counted from
    `begun`."""

    def __init__(self, folder, about, environment, seconds, begun):
        self.folder, self.about = folder, about
        self.environment = {**os.environ, **environment, **folder.environment()}
        self.end = begun + seconds - GRACE_S
        self.stages = folder.read_stages()
        self.went_wrong = False  # in this call
        self.job = self.log = None
        self.found, self.until = {}, self.end

    def left(self):
        """Seconds for everything that is still to come."""
        return self.end - time.monotonic()

    def left_here(self):
        """Seconds for the stage that runs."""
        return self.until - time.monotonic()

    # ---- a stage ----

    def run(self, stages):
        """stages: name, the most seconds that it may take (None: all that are left), and its function."""
        for k, (name, most, work) in enumerate(stages):
            later = len(stages) - k - 1
            fair = max(self.left() - KEPT_S * later, self.left() / (later + 1))
            self.stage(name, fair if most is None else min(most, fair), work)

    def stage(self, name, most, work):
        """Runs work(), which says in one line what it found or raises, for at most so many seconds."""
        if self.left() < LEAST_S:
            self.note_unbegun(name)
            return
        start = time.monotonic()
        self.until = min(start + most, self.end)
        self.found, self.log = {}, self.folder.path / "logs" / f"{name}.txt"
        self.log.write_bytes(b"")
        print(f"{name:15s} ", end="", flush=True)
        try:
            verdict, detail = self.judge(work)
        except Interrupted as signal_name:
            self.keep(name, "stopped", f"by {signal_name}: {last_line(self.read_log())}", start)
            raise
        self.keep(name, verdict, detail, start)

    def judge(self, work):
        try:
            end_after(max(0.1, self.left_here()))
            try:
                return "passed", str(work())
            finally:
                end_after(0)
        except Skipped as reason:
            return "skipped", str(reason)
        except Failed as reason:
            return "failed", str(reason)
        except Overran:
            return "overran", last_line(self.read_log())
        except (Exception, SystemExit) as error:  # a bug of the stage's own
            with open(self.log, "a") as log:
                log.write(traceback.format_exc())
            return "failed", where_it_broke(error)

    def note_unbegun(self, name):
        print(f"{name:15s} not begun: no time left", flush=True)
        if not any(s["stage"] == name for s in self.stages):
            self.keep(name, "skipped", "no time left", time.monotonic(), say=False)

    def keep(self, name, verdict, detail, start, say=True):
        seconds = round(time.monotonic() - start, 1)
        if say:
            print(f"{verdict:8s} {seconds:6.1f} s  {detail}", flush=True)
        self.went_wrong |= verdict in ("failed", "overran", "stopped")
        now = time.strftime("%Y-%m-%d %H:%M")
        result = {"stage": name, "verdict": verdict, "seconds": seconds, "detail": detail, "when": now, **self.about}
        self.stages = [s for s in self.stages if s["stage"] != name] + [{**result, "found": self.found}]
        self.write()

    def write(self):
        write_json(self.folder.json, {**self.about, "stages": self.stages})
        lines = [f"# {self.about.get('device')}", "", "| stage | verdict | s | when | detail |", "| --- | --- | --- | --- | --- |"]
        for s in self.stages:
            cells = (s["stage"], s["verdict"], s.get("seconds"), s.get("when"), str(s.get("detail")).replace("|", "/"))
            lines.append(f"| {' | '.join(map(str, cells))} |")
        for s in self.stages:
            if s.get("found", {}).get("text"):
                lines += ["", f"## {s['stage']}", "", s["found"]["text"]]
        write_whole(self.folder.table, "\n".join(lines) + "\n")

    # ---- its programs ----

    def call(self, command, environment=None, seconds=None):
        """Runs a program to its end and gives what it printed, which goes to the stage's log too. Raises Died where
        the exit code is not 0. With `seconds`, a program that takes longer is ended and has Failed, not the stage."""
        command = [str(word) for word in command]
        with open(self.log, "ab") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            begin = log.tell()
            self.job = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                env={**self.environment, **(environment or {})},
            )  # fmt: skip
            try:
                code = self.job.wait(seconds)
            except subprocess.TimeoutExpired:
                raise Failed(f"ended after {seconds:.0f} s: {last_line(self.read_log(begin))}") from None
            finally:
                self.end_job()
        if code:
            raise Died(code, self.read_log(begin))
        return self.read_log(begin)

    def read_log(self, begin=0):
        with open(self.log, "rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")

    def end_job(self):
        """With all that it started."""
        try:
            os.killpg(self.job.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.job.wait()


def end_after(seconds):
    """Raises Overran then; 0: no more."""

    def overrun(*_):
        raise Overran

    signal.signal(signal.SIGALRM, overrun)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def end_on_signals():
    """Raises Interrupted where the system would end this process; further signals change nothing."""

    def interrupt(number, _):
        for each in asking:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for each in asking:
        signal.signal(each, interrupt)
