"""Row 2: a power cut. What was never synced is lost, torn or there; what was acknowledged is there.

The service runs under strace(1), which records its every write and sync, and the clients' notes of what they were told. Then, for many
places in that recording, a directory is made as a disk may hold it when the power goes there (disk_model.py), a service is started on
it, and asked for all that had been acknowledged by then (power_judge.py).

power.py [SEED]  What fails is kept, and where is said.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

import disk_model
import power_load
from power_judge import Judge, Survivor, told
from service import FULL, passed_over, say

PORT = 18662
SEED = int(sys.argv[1]) if len(sys.argv) > 1 else 2
# Seconds of load before the recording and in it, how often the service is killed and started in it, how many cuts are judged.
WARM, SECONDS, STARTS, CUTS = (60, 8, 3, 3000) if FULL else (2, 1, 2, 70)
FIRST_CUTS, DEAF_CUTS = (600, 150) if FULL else (24, 10)
HOWS = ["nothing", "nothing", "all", "sectors", "sectors", "sectors", "pages", "any names"]
JUDGES = 3
SEGMENT = 512 * 1024
STORE = "data/store/db"


class Recording:
    """The directory as it was, and what was done to it."""

    def __init__(self, work, name, seconds, starts):
        directory, marks, history = work / "data", work / f"{name}.marks", work / "history"
        directory.mkdir(exist_ok=True)
        self.before = disk_model.Disk(directory, marks)
        self.first = len(json.loads(history.read_text())["acts"]) if history.exists() else 0
        trace = work / f"{name}.strace"
        run_load(work, name, seconds, starts, [*disk_model.STRACE, "-o", trace])
        self.steps = self.before.steps(disk_model.calls(trace))
        trace.unlink()
        history = json.loads(history.read_text())
        self.site, self.acts = history["site"], {int(number): act for number, act in history["acts"].items()}
        after = self.before.copy()
        self.groundless = self.play(after)
        if differences := after.differences():
            sys.exit(f"FAILED: {differences} was written by ways that were not recorded")
        self.counts = after.counts

    def play(self, disk):
        """Does all of it. Returns how often sled was given a data file that was not synced since the process before had ended: sled
        notes what it reads in a snapshot, which it does sync, and after a cut that may speak of what is gone."""
        groundless, synced_by = 0, None
        for at, ended, call in self.steps:
            process, name, arguments, result = call[2:6]
            disk.step(at, ended, call)
            if ended and name in ("fsync", "fdatasync") and disk.file_of(arguments[0])[1] == STORE:
                synced_by = process
            # sled opens it so; Signet's own handles make nothing.
            if ended and name == "openat" and "O_CREAT" in arguments[2] and disk.file_of(result)[1] == STORE:
                groundless += bool(disk.live[STORE].live) and synced_by != process
        return groundless

    def log(self):
        """How many segments of sled's log were begun where there had been others, and how many of its bytes waited for a sync at each
        step."""
        end = len(self.before.names[STORE].sure) if STORE in self.before.names else 0
        reused, waiting = 0, [0]
        for _, ended, call in self.steps:
            more = 0
            if call[3] == "pwrite64" and not ended:
                at, more = int(call[4][3]), int(call[4][2])
                reused += at % SEGMENT == 0 and at < end
                end = max(end, at + more)
            synced = call[3] in ("fsync", "fdatasync") and ended and self.before.file_of(call[4][0])[1] == STORE
            waiting.append(0 if synced else waiting[-1] + more)
        return reused, waiting

    def places(self, count, chance):
        """Where the power goes: half of them beside a sync or an acknowledgement, a quarter where much waits for a sync, and some
        shortly after a start has read what the process before it left, and noted in a snapshot where it stands."""
        moments = [number for number, (_, _, call) in enumerate(self.steps) if call[3] in ("fsync", "fdatasync", "rename")
                   or call[3] == "write" and disk_model.text(call[4][1][:17]) == b"ack "]
        starts = [number for number, (_, ended, call) in enumerate(self.steps) if ended and call[3] == "rename"
                  and b"/snap." in disk_model.text(call[4][1])]
        everywhere = range(len(self.steps) + 1)
        near = [chance.choice(moments) + chance.choice([0, 1]) for _ in range(count // 2)]
        full = chance.choices(everywhere, [each + 1 for each in self.log()[1]], k=count // 4)
        noted = [min(chance.choice(starts) + chance.randint(1, 12), len(self.steps)) for _ in range(count // 8 if starts else 0)]
        return sorted(near + full + noted + chance.choices(everywhere, k=count - len(near) - len(full) - len(noted)))

    def cuts(self, count, seed, deaf):
        """Directories as a disk may hold them, with what had been asked for and acknowledged by then."""
        chance, disk, done = random.Random(seed), self.before.copy(), 0
        for number, place in enumerate(self.places(count, chance)):
            while done < place:
                call = self.steps[done][2]
                if not (deaf and call[3] in ("fsync", "fdatasync") and disk.file_of(call[4][0])[1] == STORE):
                    disk.step(*self.steps[done])
                done += 1
            how = HOWS[number % len(HOWS)]
            yield f"{how}, {number}", disk.after_a_cut(how, chance), list(disk.marks), disk.unsure()


def run_load(work, name, seconds, starts, tracer=(), codes="10m"):
    command = [*tracer, sys.executable, power_load.__file__, work / "data", str(PORT), str(seconds), str(starts),
               work / f"{name}.marks", work / "history", codes]
    subprocess.run(command, check=True)


def lay(directory, files):
    directory.mkdir(parents=True)
    for name, content in files.items():
        if content is None:
            (directory / name).mkdir()
        else:
            (directory / name).write_bytes(content)
            (directory / name).chmod(0o600)


class Report:
    """What became of the cuts of one recording."""

    def __init__(self, title, recording, count, deaf=False):
        self.recording = recording
        self.cuts = self.unsure = 0
        self.hows, self.asked = collections.Counter(), collections.Counter()
        self.not_started, self.lost, self.deaf = [], [], deaf
        self.kept = pathlib.Path(tempfile.gettempdir()) / f"signet-power-{os.getpid()}"
        memory = pathlib.Path("/dev/shm")
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="signet-power-", dir=memory if os.access(memory, os.W_OK) else None))
        self.ports = queue.Queue()
        [self.ports.put(PORT + 2 * each) for each in range(JUDGES)]
        try:
            self.judge_all(count)
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)
        say(f"  {title}: {self.cuts} cuts ({', '.join(f'{n} {how}' for how, n in sorted(self.hows.items()))}), "
            f"{self.unsure / self.cuts:.1f} writes and names not synced on average; "
            f"{len(self.not_started)} did not start, {len(self.lost)} lost something; "
            f"looked for {', '.join(f'{n} x {what}' for what, n in sorted(self.asked.items()))}")

    def judge_all(self, count):
        waiting = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(JUDGES) as pool:
            for name, files, marks, unsure in self.recording.cuts(count, SEED + self.deaf, self.deaf):
                self.cuts, self.unsure = self.cuts + 1, self.unsure + unsure
                self.hows[name.split(", ")[0]] += 1
                waiting.append(pool.submit(self.judge, name, files, marks))
                if len(waiting) > 2 * JUDGES:
                    self.note(*waiting.popleft().result())
            [self.note(*each.result()) for each in waiting]

    def judge(self, name, files, marks):
        kinds = told(self.recording.acts, self.recording.first, marks)
        # Whoever has not heard that the first start is over knows no secrets yet: it has to start, and that is all.
        newborn = not self.recording.first and not any(heard for _, _, heard in kinds["first start"])
        port = self.ports.get()
        directory = self.scratch / str(port)
        lay(directory, files)
        service = Survivor(port, directory, {} if newborn else self.recording.site)
        verdict = Judge(service, kinds, random.Random(name))
        try:
            if newborn and not service.reason:
                verdict.asked["first start"] += 1
            elif not service.reason:
                verdict.judge()
        finally:
            service.kill()
            shutil.rmtree(directory)
            self.ports.put(port)
        return name, files, service.reason, verdict

    def note(self, name, files, reason, verdict):
        self.asked.update(verdict.asked)
        if reason is None and not verdict.lost:
            return
        (self.lost if verdict.lost else self.not_started).append(name)
        if not self.deaf and len(self.lost) + len(self.not_started) < 10:
            say(f"    {name}: {reason or verdict.lost[:4]}")
            lay(self.kept / re.sub(r"\W+", "-", f"{'load' if self.recording.first else 'first'} {name}"), files)

    def failed(self):
        return self.lost or self.not_started


def main():
    begun = time.monotonic()
    if not shutil.which("strace"):
        passed_over("power", "install strace")
    work = pathlib.Path(tempfile.mkdtemp(prefix="signet-power-"))
    try:
        first = Report("from the very first start", Recording(work, "first", 0.3, 1), FIRST_CUTS)
        # So that the first start that is recorded has a great many rows to remove at once.
        run_load(work, "warm", WARM, 1, codes="5s" if FULL else "10m")
        recording = Recording(work, "load", SECONDS, STARTS)
        load = Report("under load", recording, CUTS)
        # Would a loss be seen? If the syncs of the data file did nothing, this is what would be.
        deaf = Report("the same, if the data file were never synced", recording, DEAF_CUTS, deaf=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if first.failed() or load.failed():
        sys.exit(f"FAILED: what was left is kept in {first.kept}")
    if recording.groundless:
        sys.exit(f"FAILED: sled was given a data file that had not been synced, at {recording.groundless} starts")
    if not deaf.failed():
        sys.exit("FAILED: without a single sync all was there: this proves nothing")
    reused, waiting = recording.log()
    counts = recording.counts
    say(f"power: {first.cuts + load.cuts} power cuts in {counts['writes']} writes and {counts['syncs']} syncs, {reused} segments "
        f"of the log used again, {max(waiting) // 1024} KiB waiting for a sync at most: every start succeeded and nothing acknowledged was lost; "
        f"if the data file were not synced, {len(deaf.lost) + len(deaf.not_started)} of {deaf.cuts} would be lost; "
        f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
