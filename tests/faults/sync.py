"""Row 4: a sync that fails is never retried into success. Neither what waited for it nor what was asked for after it began is acknowledged, what is
published goes on, and a new process finds all that was acknowledged.

First strace(1) lets syncs of sled's data file fail: all from one on, or only one, after which the disk seems well. The sync is held up before it
fails, so that what was synced before it has been heard of when it does: no acknowledgement may come after that. Then a real disk fails: a
loop device whose file can't grow, so that the kernel finds out when it writes back what it has taken long ago, and sled's own flush may be
the first to hear of it. That takes root.
"""

import contextlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

from service import FULL, Service, fail, passed_over, say
from small_disk import MIB, Load, SmallDisk, in_a_group, wait_for

PORT = 18666
POINTS, DISKS = (100, 10) if FULL else (5, 2)
# By when readiness must say so, in seconds: at the full figures on a machine of its own, else on whatever else it does.
BAR = 1.0 if FULL else 10.0
# For so many seconds a sync is held up before it fails: by then a client has heard of what was synced before, also where others use the machine.
HELD = 0.25 if FULL else 1.0
chance = random.Random(4)


class Tracer:
    """strace(1) at work on a running service: from its Nth sync of the data file on they fail, or that one alone, after they were held up."""

    def __init__(self, service, number, once):
        self.notes = tempfile.NamedTemporaryFile("r", prefix="signet-sync-")
        inject = f"inject=fdatasync,fsync:error=EIO:delay_enter={1e6 * HELD:.0f}:when={number}{'' if once else '+'}"
        self.process = subprocess.Popen(
            ["strace", "-f", "-ttt", "-o", self.notes.name, "-P", service.directory / "data/store/db", "-e", "signal=none",
             "-e", "trace=fdatasync,fsync", "-e", inject, "-p", str(service.process.pid)],
            stderr=subprocess.PIPE, text=True)
        if "attached" not in (told := self.process.stderr.readline()):
            fail(service, f"strace: {told.strip()}")

    def began_at(self):
        """When the first sync that failed began, in seconds since the epoch; None before it has failed."""
        began = {}
        for thread, at, what in re.findall(r"^(\d+) +([\d.]+) (.*)$", pathlib.Path(self.notes.name).read_text(), re.MULTILINE):
            if not what.startswith("<..."):
                began[thread] = float(at)
            if "(INJECTED)" in what:
                return began[thread]
        return None

    def end(self):
        self.process.terminate()
        self.process.communicate()


class LoopDisk:
    """A file system on a loop device whose file lies on a small disk, and grows with what is written."""

    def __init__(self, small):
        self.small, self.image, self.directory = small, small.directory / "image", small.directory / "disk"
        self.directory.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(1024 * MIB)
            # Here lies what the file system keeps about files, and its journal: they are to go on, only what is in files is to be lost.
            os.posix_fallocate(image.fileno(), 0, 8 * MIB)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-N", "4096", "-J", "size=4,location=1024", "-E", "nodiscard", self.image],
                       check=True)
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.directory], check=True)

    def unmount(self):
        subprocess.run(["umount", self.directory], check=True, capture_output=True)

    def fail(self):
        self.small.fill(0)

    def mend(self):
        """Whatever the kernel still shows of what it could not write is gone then, as after a restart of the machine."""
        self.unmount()
        self.small.make_room()
        subprocess.run(["e2fsck", "-fy", self.image], capture_output=True, check=False)
        self.mount()

    def clean_up(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.unmount()


def stopped(service, load, began_at, where):
    """Nothing is written from here on, by a sync that began then and has failed. How long after it failed readiness said so."""
    failed_at = began_at + HELD
    while service.ready()[1]["store"] != "restart":
        if time.time() - failed_at > BAR:
            fail(service, f"{where}: {BAR} s after the failed sync readiness says {service.ready()}")
        time.sleep(0.005)
    took = time.time() - failed_at
    refused = load.counts["refused"]
    if wait_for(lambda: load.counts["refused"] > refused + 20, 10) is None:
        fail(service, f"{where}: nothing is refused")
    load.reads(issues=False)
    if service.ready()[0] != 503:
        fail(service, f"{where}: it says it is ready")
    if load.begun_last > began_at:
        fail(service, f"{where}: acknowledged was what was asked for {load.begun_last - began_at:.3f} s after the sync had begun that failed")
    if load.heard_last > failed_at:
        fail(service, f"{where}: a write was acknowledged {load.heard_last - failed_at:.3f} s after the failed sync")
    return took


def again(service, load, since, kill=True, between=lambda: None):
    """A new process, and whether it has all that was acknowledged since."""
    load.paused.set()
    if kill:
        service.kill()
    else:
        service.stop()
    between()
    service.start()
    if wait_for(lambda: service.ready()[0] == 200, 30) is None:
        fail(service, f"30 s after a start it is not ready: {service.ready()}")
    load.renew()
    load.look_for_acknowledged(since)
    load.paused.clear()


def inject():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="signet-sync-"))
    service = Service(PORT, directory)
    load, latest = Load(service, PORT + 2), 0
    for point in range(POINTS):
        written, since = load.counts["written"], load.heard_of()
        if wait_for(load.writes(written + chance.randrange(40)), 20) is None:
            fail(service, f"point {point}: nothing is written")
        once = point % 2 == 1
        tracer = Tracer(service, chance.randrange(1, 40), once)
        if wait_for(lambda: tracer.began_at() is not None, 20) is None:
            fail(service, f"point {point}: no sync failed")
        latest = max(latest, stopped(service, load, tracer.began_at(), f"point {point}, {'one sync' if once else 'every sync'} fails"))
        tracer.end()
        again(service, load, since, kill=point // 2 % 2 == 0)
    load.stop()
    load.check()
    counts = load.counts
    say(f"  {POINTS} syncs failed by strace, after {(POINTS + 1) // 2} of them every further one: {counts['written']} writes acknowledged, none after "
        f"one of them and none that was asked for in the {HELD} s for which each was held up, 0 lost; {counts['refused']} refused; readiness said so after {latest:.2f} s at most; {counts['published']} of "
        f"{counts['published']} requests for keys, metadata and status served meanwhile; {POINTS} of {POINTS} starts ready with all of it")
    load.api.close()
    service.close()


def break_disk(disk):
    service = Service(PORT, pathlib.Path(tempfile.mkdtemp(prefix="signet-sync-")))
    service.stop()
    # Only the store: the audit log would notice first, and then nothing is written either.
    shutil.move(service.directory / "data/store", disk.directory / "store")
    (service.directory / "data/store").symlink_to(disk.directory / "store")
    service.start()
    load, heard = Load(service, PORT + 2), {}
    for point in range(DISKS):
        written, since = load.counts["written"], load.heard_of()
        if wait_for(load.writes(written + 40), 20) is None:
            fail(service, f"disk {point}: nothing is written")
        disk.fail()
        if wait_for(lambda: service.ready()[1]["store"] == "restart", 20) is None:
            fail(service, f"disk {point}: its failing was not noticed: {service.ready()}")
        # Since when is not known, but for that it has failed by now; that all acknowledged is there says the rest.
        stopped(service, load, time.time(), f"disk {point}")
        again(service, load, since, between=disk.mend)
    for by in re.findall("reason=(flushing|syncing to disk) failed", pathlib.Path(service.log.name).read_text()):
        heard[by] = heard.get(by, 0) + 1
    load.stop()
    load.check()
    say(f"  a disk that failed {DISKS} times while the kernel wrote back: {load.counts['written']} writes acknowledged, 0 lost, {DISKS} of {DISKS} starts "
        f"ready with all of it; noticed {', '.join(f'{times} x in {what}' for what, times in heard.items())}")
    load.api.close()
    service.close()


def main():
    begun = time.monotonic()
    if not shutil.which("strace"):
        passed_over("sync", "install strace")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode:
        passed_over("sync", "strace may not trace here")
    if code := in_a_group(inject):
        sys.exit(code)
    small = SmallDisk("sync", 700)
    try:
        disk = LoopDisk(small)
    except (OSError, subprocess.CalledProcessError) as error:
        small.remove()
        passed_over("sync", f"no loop device can be had here: {error}")

    def run():
        break_disk(disk)
        say(f"sync: no failed sync was followed by an acknowledgement; {time.monotonic() - begun:.0f} s")

    small.try_out(run, disk.clean_up)


if __name__ == "__main__":
    main()
