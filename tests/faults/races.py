"""Rows 8 and 9: a code is spent once and a refresh token has one child, whoever comes at the same moment. The loops are those of
tests/cluster/run, and this is one process with two workers or more, on the default store or over PostgreSQL."""

import asyncio
import os
import sys
import time

from service import FULL, PORTS, ROOT, STORE, Service, binary, fail, say

PORT = 18612
os.environ["CLUSTER_PORTS"] = str(PORT + PORTS)
sys.path.append(str(ROOT / "tests/cluster"))
if FULL:
    # As its scripts are told.
    sys.argv.append("--full")
from changes import BAR  # noqa: E402
from client import Broken, spread  # noqa: E402
from cluster import Cluster, Node, check  # noqa: E402
from racing import racing_codes, racing_refreshes  # noqa: E402

NUMBER, RACING = 1000 if FULL else 20, 200
# For so many seconds after the first use a token that was used is taken for a retry, and not for one that was stolen.
GRACE = 10
WORKERS = max(2, len(os.sched_getaffinity(0)))


class Alone(Cluster):
    """One process, asked as if it were the only node of several."""

    def __init__(self, service):
        super().__init__(binary().parent, service.directory, "alone")
        self.nodes = [Node(self, 0, None)]
        self.administrator = dict(zip(("client_id", "client_secret"), service.credentials("administrator")))


async def main(service):
    alone, begun = Alone(service), time.monotonic()
    client = await alone.client(alone.nodes[0])
    cookies = await alone.sign_in(client)
    # Only a database may have too much to do.
    may_be_late = bool(STORE) and not FULL
    where = f"{WORKERS} workers {'over PostgreSQL' if STORE else 'on the default store'}"
    codes = await racing_codes(alone, client, cookies, NUMBER, RACING, may_be_late)
    say(f"races: {NUMBER} codes, {RACING} redemptions each at once, {where} ({codes.rate:.0f} a second): one winner each, "
        f"{NUMBER * (RACING - 1) - codes.late} times invalid_grant, {codes.late} too late, 0 other answers; what each winner got was inactive after "
        f"{spread(codes.ended)} from the last answer, and could not be refreshed")
    check(codes.ended and max(codes.ended) <= BAR, f"that is too long, the bar is {BAR:.0f} s")
    refreshes = await racing_refreshes(alone, client, cookies, NUMBER, RACING, may_be_late)
    say(f"races: {NUMBER} refresh tokens, {RACING} refreshes each at once ({refreshes.rate:.0f} a second): one child each, given again to a retry, "
        f"{refreshes.late} too late, 0 other answers; {NUMBER} reused as a grandparent, at most {max(refreshes.reused):.2f} s after the first use: each "
        f"family ended, five access tokens of each inactive after {spread(refreshes.ended)}; {time.monotonic() - begun:.0f} s")
    check(max(refreshes.ended) <= BAR, f"that is too long, the bar is {BAR:.0f} s")
    check(not FULL or max(refreshes.reused) < GRACE, f"the grace of {GRACE} s was over: reuse within it was not tried")


service = Service(PORT, SIGNET_WORKERS=str(WORKERS), SIGNET_CODES__LIFETIME="10m")
try:
    asyncio.run(main(service))
except (SystemExit, Broken) as error:
    fail(service, str(error).removeprefix("FAILED: "))
service.close()
