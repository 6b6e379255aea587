"""Whether the other processes of a training are alive: a hang or a kill ends all of them, in under
a minute and with one line.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from util.errors import RunStopped, one_line
from util.process_pool import kill_children

PULSE = 2.0  # seconds between signs of life
SILENCE = 40.0  # seconds without one after which a process is given up
GRACE = 5.0  # seconds in which the main thread can end by itself, before the process is ended
DONE, FAILED = "done", "failed"  # last signs
_LOST = ("gloo", "nccl", "connection", "socket", "store", "timed out")  # in errors of the engine


class Heartbeat:
    """Gives signs of life in a store that all processes reach, and looks for those of the others.

    Processes of one machine see each other's end at once, those of other machines by silence.
    """

    def __init__(self, store: Any, rank: int, world_size: int):
        """`store` is a `torch.distributed.Store`, of which the watch needs two connections."""
        self.store, self.own = store, store.clone()
        self.rank, self.world_size = rank, world_size
        self.verdict, self.reporting = "", False
        self.beats: dict[int, tuple[str, float]] = {}  # the last sign of each, and when it was new
        self.keys = [f"beat/{n}" for n in range(world_size)]
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="liveness", daemon=True)
        store.set(f"who/{rank}", f"{_machine()}/{os.getpid()}")
        store.set(f"beat/{rank}", "0")

    def start(self) -> None:
        """Begin to watch, once all processes have a watch."""
        keys = [f"who/{n}" for n in range(self.world_size)]
        self.who = [who.decode().rpartition("/") for who in self.store.multi_get(keys)]
        self.thread.start()

    def stop(self, sign: str = DONE) -> None:
        """Stop watching and give the last sign."""
        self.ended.set()
        with contextlib.suppress(Exception):  # the store may be gone
            self.store.set(f"beat/{self.rank}", sign)
        if self.thread.is_alive():  # inside the engine, Python's end would abort the process
            self.thread.join(GRACE)

    def find_dead_rank(self) -> str:
        """Return why the training cannot go on, or nothing."""
        gone = [
            n for n in range(self.world_size) if self._is_here(n) is False
        ]  # before their last sign
        now, beats = time.monotonic(), self.own.multi_get(self.keys)
        for n, beat in enumerate(beat.decode() for beat in beats):
            if n == self.rank or beat == DONE:
                continue
            if self.beats.get(n, ("",))[0] != beat:
                self.beats[n] = beat, now
            who = f"process {n} of 0..{self.world_size - 1}"
            if beat == FAILED:
                return f"{who} has ended"
            if n in gone:
                return f"{who} (pid {self.who[n][2]}) was killed"
            if now - self.beats[n][1] > SILENCE:
                return f"nothing was heard of {who} for {SILENCE:.0f} s"
        return ""

    def name_the_dead_rank(self, error: BaseException) -> BaseException:
        """If another rank's death caused the error, return one that names that rank."""
        text = one_line(error)
        lost = isinstance(error, RuntimeError) and any(word in text.lower() for word in _LOST)
        if not lost:
            return error
        end = time.monotonic() + 2 * PULSE
        while not self.verdict and time.monotonic() < end:
            time.sleep(0.05)
            try:
                self.verdict = self.verdict or self.find_dead_rank()
            except Exception:  # the store went with the process that held it
                self.verdict = "the process that the others meet at was killed"
        return RunStopped(_with_advice(self.verdict or f"the other processes are lost ({text})"))

    def is_first_to_report(self) -> bool:
        """Return whether this process is the first to say why all end; process 0 goes first."""
        end = time.monotonic() + (PULSE if self.rank else 0)
        try:
            while time.monotonic() < end and not self.store.check(["said"]):
                time.sleep(0.05)
            self.reporting = self.store.add("said", 1) == 1
        except Exception:  # without the store, the first that lives of those on a machine
            self.reporting = not any(self._is_here(n) for n in range(self.rank))
        return self.reporting

    def _is_here(self, n: int) -> bool | None:
        """Return whether a process lives on this machine; None if it is on another."""
        machine, _, pid = self.who[n]
        return _alive(int(pid)) if machine and machine == _machine() else None

    def _watch(self) -> None:
        beat = 0
        while not self.ended.wait(PULSE):
            beat += 1
            try:
                self.own.set(f"beat/{self.rank}", str(beat))
                verdict = self.find_dead_rank()
            except Exception:
                verdict = "the process that the others meet at was killed"
            if verdict and not self.ended.is_set():
                self.verdict = verdict
                break
        # A main thread that waits for a dead process may do so for ever.
        if not self.ended.wait(GRACE):
            if not self.reporting and self.is_first_to_report():
                print(f"{Path(sys.argv[0]).name}: {_with_advice(self.verdict)}", file=sys.stderr)
            sys.stderr.flush()
            kill_children()
            os._exit(1)


def ignore_sigterm() -> None:
    """Pass over SIGTERM while a process says its last: torchrun sends it once one has ended."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _with_advice(verdict: str) -> str:
    return f"{verdict}, and all end with it; --continue_train resumes from the last save, if any"


def _machine() -> str:
    """Return what tells this machine and its process numbers from all others, or nothing."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
