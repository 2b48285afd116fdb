"""Row 5 over PostgreSQL: its own full disk is an outage of writes only. Needs root, for a small file system of its own.

The database lies on it, its write-ahead log too; the service does not. At every other point only tables can't grow any more; at the
others the log is made to go on until there is no room for it either, and PostgreSQL ends itself (PANIC), recovers, and where it can't even
do that stays away. A supervisor starts it again, as an operator's does: every second until it succeeds."""

import pathlib
import random
import shutil
import subprocess
import tempfile
import threading
import time

from service import FULL, PORTS, ROOT, Service, fail, say
from small_disk import MIB, Load, SmallDisk, wait_for

POINTS = 50 if FULL else 6
HELD = 600 if FULL else 5
# `keys.propagation`: for so long after the database last took it down that this node is there, it issues tokens for which nothing is
# written. A second less, for a request is on its way.
P = 30 - 1
PORT = 18664 + PORTS
chance, disk = random.Random(5), SmallDisk("database", 755)
server = disk.directory / "server"
# What PostgreSQL says goes elsewhere: on the full disk there is no room for it.
said = pathlib.Path(tempfile.mkdtemp(prefix="signet-database-said-"))
shutil.chown(said, "postgres")
# As little of the write-ahead log as may be is kept for later, or made beforehand: it would last for minutes.
SETTINGS = ["wal_keep_size=0", "min_wal_size=32MB", "max_wal_size=64MB", "checkpoint_timeout=30s",
            "logging_collector=on", f"log_directory='{said}'", "log_filename='log'"]


def postgres(verb, *more):
    return subprocess.run([ROOT / "tests/support/postgres.sh", verb, server, *more], capture_output=True, text=True)


def sql(statement):
    command = ["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(PORT), "-U", "signet", "-d", "signet", "-Atc", statement]
    return subprocess.run(command, capture_output=True, check=False, text=True, timeout=60).stdout.strip()


class Supervisor(threading.Thread):
    """Starts the server whenever it is not there."""

    def __init__(self):
        super().__init__(daemon=True)
        self.starts = 0
        self.start()

    def run(self):
        while True:
            head = server / "postmaster.pid"
            try:
                alive = pathlib.Path("/proc", head.read_text().split()[0]).exists()
            except (OSError, IndexError):
                alive = False
            if not alive and postgres("restart").returncode == 0:
                self.starts += 1
            time.sleep(1)


class Announcements(threading.Thread):
    """Sees when the database takes it down that the node is there: tried every ten seconds."""

    def __init__(self, begun):
        super().__init__(daemon=True)
        # When the last was made, or before.
        self.at = begun
        self.start()

    def run(self):
        known, looked = None, self.at
        while True:
            now, newest = time.monotonic(), sql("SELECT max(version) FROM signet_kv WHERE tbl = 'nodes'")
            if newest:
                # It was made since it was last seen that there was none.
                self.at = looked if known and newest != known else self.at
                known, looked = newest, now
            time.sleep(0.3)

    def recent(self):
        return time.monotonic() - self.at < P


def run():
    made = postgres("start_primary", str(PORT), *SETTINGS)
    if made.returncode:
        fail(None, made.stdout + made.stderr)
    begun = time.monotonic()
    service = Service(18660, SIGNET_STORE=made.stdout.strip(), SIGNET_KEYS_KEK="ab" * 32)
    load, supervisor, announcements = Load(service, 18662), Supervisor(), Announcements(begun)
    counts, resumed, while_full, named = load.counts, [], 0, 0

    def logged(word):
        return (said / "log").read_text(errors="replace").count(word)

    for point in range(POINTS):
        time.sleep(chance.random() * 0.5)
        if point == POINTS - 1 and wait_for(lambda: time.monotonic() - announcements.at < 5, 30) is None:
            fail(service, "it announces itself no more")
        full, held, whole = threading.Event(), point == POINTS - 1, point % 2
        disk.fill(chance.choice([0, 0, chance.randrange(0, MIB)]))
        refused, before = counts["refused"], counts["written"]

        def stay_full():
            # What the server gives back, as after a restart, is taken too.
            while not full.wait(0.05):
                disk.fill(0)

        keeper = threading.Thread(target=stay_full, daemon=True)
        keeper.start()
        if wait_for(lambda: counts["refused"] > refused + 3, 60) is None:
            fail(service, f"nothing was refused with {disk.free()} bytes free")
        load.reads(issues=announcements.recent())
        if not whole:
            # In between some writes fit in pages that are there, and it says so.
            if wait_for(lambda: service.ready()[1]["store"] == "unwritable", 60) is None:
                fail(service, f"it does not say that the database can't be written: {service.ready()}")
            named += 1
        if whole:
            died = logged("PANIC:")
            for _ in range(200):
                # Each time the rest of a segment is passed over, and the next one begun.
                sql("SELECT pg_switch_wal()")
                if logged("PANIC:") > died:
                    break
            else:
                fail(service, "there is always room for the write-ahead log")
        end = time.monotonic() + (HELD if held else 1)
        while time.monotonic() < end:
            load.reads(issues=announcements.recent())
            time.sleep(0.2)
        while_full += counts["written"] - before
        full.set()
        keeper.join()
        disk.make_room()
        room, before = time.monotonic(), counts["written"]
        if wait_for(load.writes(before), 30) is None:
            fail(service, f"30 s after there is room again nothing is written: {service.ready()}")
        resumed.append(time.monotonic() - room)
        if wait_for(lambda: (said := service.ready())[0] == 200 and said[1]["store"] == "ok", 30) is None:
            fail(service, f"30 s after there is room again it is not ready: {service.ready()}")
    load.stop()
    load.check()
    checked = postgres("check")
    if checked.returncode:
        fail(service, f"the database is damaged: {checked.stdout}{checked.stderr}")
    say(f"database: PostgreSQL's disk full at {POINTS} points, at {POINTS // 2} of them for its write-ahead log too, the last for {HELD} s "
        f"({logged('PANIC:')} times PANIC in its log, {supervisor.starts} starts by a supervisor): {load.told()}, {counts['issued']} "
        f"of {counts['verified']} tokens issued, all for which an announcement was recent enough; {while_full} of the writes were acknowledged while it was full, having "
        f"room in pages that were there; `store: unwritable` was said at {named} of {POINTS - POINTS // 2} points at which it stayed; "
        f"writes resumed after {max(resumed):.2f} s at most; pg_amcheck found nothing")
    load.api.close()
    service.close()


def clean_up():
    postgres("stop")
    shutil.rmtree(said, ignore_errors=True)


disk.try_out(run, clean_up)
