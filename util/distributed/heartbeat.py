"""Heartbeats between ranks: if one hangs or dies, all end within a minute, with one error line."""

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

PULSE = 2.0  # seconds between heartbeats
SILENCE = 40.0  # seconds without a heartbeat after which a rank counts as dead
GRACE = 5.0  # seconds that the main thread gets to end by itself
DONE, FAILED = "done", "failed"  # last heartbeats
# Words in errors of torch.distributed.
_LOST = ("gloo", "nccl", "connection", "socket", "store", "timed out")
STORE_LOST = "the process with the shared store was killed"


class Heartbeat:
    """Writes this rank's heartbeat to a shared store and checks the heartbeats of the others.

    On the same machine, the process id shows at once that a rank is dead; on another machine,
    `SILENCE` does.
    """

    def __init__(self, store: Any, rank: int, world_size: int):
        """`store` is a `torch.distributed.Store`; the watching thread needs a second connection."""
        self.store, self.own = store, store.clone()
        self.rank, self.world_size = rank, world_size
        self.verdict, self.reporting = "", False
        self.beats: dict[int, tuple[str, float]] = {}  # by rank: last heartbeat, its time
        self.keys = [f"beat/{n}" for n in range(world_size)]
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="liveness", daemon=True)
        store.set(f"who/{rank}", f"{_machine()}/{os.getpid()}")
        store.set(f"beat/{rank}", "0")

    def start(self) -> None:
        """Start the watching thread, once all ranks have a `Heartbeat`."""
        keys = [f"who/{n}" for n in range(self.world_size)]
        self.who = [who.decode().rpartition("/") for who in self.store.multi_get(keys)]
        self.thread.start()

    def stop(self, sign: str = DONE) -> None:
        """Stop watching and write the last heartbeat."""
        self.ended.set()
        with contextlib.suppress(Exception):  # the store may be gone
            self.store.set(f"beat/{self.rank}", sign)
        if self.thread.is_alive():  # Python aborts if it ends while the thread is inside torch
            self.thread.join(GRACE)

    def find_dead_rank(self) -> str:
        """Return a sentence about the first dead rank, or ""."""
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
            except Exception:  # the store died with its process
                self.verdict = STORE_LOST
        reason = self.verdict or f"the connection to the other processes is lost ({text})"
        return RunStopped(_with_advice(reason))

    def is_first_to_report(self) -> bool:
        """Return whether this rank is the first to print the error; rank 0 gets a head start."""
        end = time.monotonic() + (PULSE if self.rank else 0)
        try:
            while time.monotonic() < end and not self.store.check(["said"]):
                time.sleep(0.05)
            self.reporting = self.store.add("said", 1) == 1
        except Exception:  # without the store: the lowest living rank of the machine
            self.reporting = not any(self._is_here(n) for n in range(self.rank))
        return self.reporting

    def _is_here(self, n: int) -> bool | None:
        """Return whether rank n is alive; None if it runs on another machine."""
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
                verdict = STORE_LOST
            if verdict and not self.ended.is_set():
                self.verdict = verdict
                break
        # The main thread may wait for a dead rank forever, so this thread ends the process.
        if not self.ended.wait(GRACE):
            if not self.reporting and self.is_first_to_report():
                print(f"{Path(sys.argv[0]).name}: {_with_advice(self.verdict)}", file=sys.stderr)
            sys.stderr.flush()
            kill_children()
            os._exit(1)


def ignore_sigterm() -> None:
    """Ignore SIGTERM, which torchrun sends after the first failure, while reporting the error."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _with_advice(verdict: str) -> str:
    return f"{verdict}, so all end; --continue_train resumes from the last checkpoint, if any"


def _machine() -> str:
    """Return an id of this machine and its process-id namespace, or "" if unknown."""
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
