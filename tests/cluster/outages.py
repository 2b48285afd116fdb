"""Ways in which a database is silent: it answers nothing, and nobody is told that it is away. `begin` gives since when."""

import os
import re
import socket
import subprocess
import time

from cluster import PRIMARY, STANDBY, WIRE, check


class Frozen:
    """The processes of both servers stand still, the standby's first: what is committed just then waits for it. The kernel acknowledges
    what is sent to them, and takes connections."""

    what = "the database frozen"

    def __init__(self, cluster):
        self.servers = (cluster.standby, cluster.primary)

    def begin(self):
        for server in self.servers:
            server.do("freeze")
        return time.monotonic()

    def end(self):
        for server in self.servers:
            server.do("thaw")

    def told(self):
        return "its kernel acknowledges and takes connections"


class Dropped:
    """Every packet to or from both servers is lost: nothing is acknowledged, no connection made, none reset. For that the script
    has a network of its own (`run`), and a queue in it that loses all it is given. What the standby is sent goes another way."""

    what = "the database's packets dropped"

    def __init__(self):
        self.lost = 0

    @staticmethod
    def possible():
        """Nowhere but in a network of the script's own, where nobody else is harmed."""
        if os.environ.get("CLUSTER_NETWORK") != "own":
            return False
        try:
            hole = Dropped()
            hole._dig()
            hole.end()
        except (OSError, subprocess.CalledProcessError, ValueError):
            try:
                # It may be half dug.
                control("qdisc del dev lo root")
            except (OSError, subprocess.CalledProcessError):
                pass
            return False
        return True

    def begin(self):
        self._dig()
        begun = time.monotonic()
        silent(PRIMARY, STANDBY)
        return begun

    def _dig(self):
        control("qdisc add dev lo root handle 1: htb default 0")
        # So fast, that is, if the next line were not.
        control("class add dev lo parent 1: classid 1:1 htb rate 1gbit quantum 60000")
        control("qdisc add dev lo parent 1:1 handle 2: blackhole")
        for port in (PRIMARY, STANDBY):
            for side in ("sport", "dport"):
                control(f"filter add dev lo parent 1: protocol ip prio 1 u32 match ip {side} {port} 0xffff flowid 1:1")

    def end(self):
        shown = control("-s qdisc show dev lo")
        control("qdisc del dev lo root")
        lost = re.search(r"qdisc blackhole .*\n.*\(dropped (\d+)", shown)
        if not lost:
            raise ValueError(f"nothing says how many were dropped: {shown}")
        self.lost = int(lost[1])

    def told(self):
        return f"{self.lost} packets dropped"


class Swallowed:
    """As near to it as one gets without a network of one's own: a wire takes what is sent and hands nothing on, and who asks for a
    connection gets no answer."""

    what = "the database's packets swallowed by a wire"

    def __init__(self, wire):
        self.wire = wire

    def begin(self):
        self.wire.sever()
        begun = time.monotonic()
        silent(WIRE)
        return begun

    def end(self):
        self.wire.mend()

    def told(self):
        return "what is sent is acknowledged, no connection made"


def control(what):
    return subprocess.run(["tc", *what.split()], check=True, capture_output=True, text=True).stdout


def silent(*ports):
    """Whoever wants a connection there must be told neither yes nor no."""
    for port in ports:
        with socket.socket() as one:
            one.settimeout(0.3)
            try:
                one.connect(("127.0.0.1", port))
                check(False, port, "takes connections")
            except TimeoutError:
                pass
            except OSError as refused:
                check(False, port, "says no:", refused)


class Slowed:
    """Each commit is answered when the standby has applied it, which that does so much later: as with a disk that is busy, or a standby
    that is far away. Nothing else takes longer."""

    def __init__(self, cluster, seconds):
        self.cluster, self.seconds = cluster, seconds

    def begin(self):
        self.cluster.standby.do("set", "recovery_min_apply_delay", f"{1000 * self.seconds:.0f}ms")
        self.cluster.primary.do("set", "synchronous_commit", "remote_apply")
        for _ in range(100):
            if self.commit() >= 0.9 * self.seconds:
                return time.monotonic()
        return check(False, "commits are as fast as ever")

    def end(self):
        self.cluster.standby.do("set", "recovery_min_apply_delay")
        self.cluster.primary.do("set", "synchronous_commit")

    def commit(self):
        """How many seconds one takes that changes nothing."""
        begun = time.monotonic()
        sql(self.cluster.primary.port, "SELECT pg_logical_emit_message(true, 'slow', '')")
        return time.monotonic() - begun


def sql(port, statement):
    command = ["psql", "-X", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "signet", "-d", "postgres", "-c", statement]
    subprocess.run(command, check=True, capture_output=True)
