"""What may happen once, or so many times, happens no more often, whichever nodes are asked, and all at the same time."""

import asyncio
import collections
import time

from changes import BAR
from client import spread
from cluster import FULL, check, joined
from racing import racing_codes, racing_refreshes


# Unless it is set, in seconds.
POSTGRES_TIMEOUT = 1.5


async def codes(cluster, client, cookies, number, racing=200):
    """Each code is redeemed by exactly one of many; the others are told `invalid_grant`, and what the one got ends by that."""
    raced = await racing_codes(cluster, client, cookies, number, racing, may_be_late=not FULL)
    print(f"codes: {number} with {racing} redemptions each over two nodes ({raced.rate:.0f} a second): one winner each,")
    print(f"    {number * (racing - 1) - raced.late} times invalid_grant, {raced.late} too late, 0 other answers; what each winner got was inactive on"
          f" every node after {spread(raced.ended)} from the last answer; bar {1e3 * BAR:.0f} ms")
    check(raced.ended and max(raced.ended) <= BAR, "that is too long")


async def refreshes(cluster, client, cookies, number, racing=50):
    """Who races gets the same child; an older one kills the family with all its access tokens, on every node."""
    raced = await racing_refreshes(cluster, client, cookies, number, racing, may_be_late=not FULL)
    print(f"refresh tokens: {number} with {racing} refreshes each over two nodes: one child each, given again to a retry;")
    print(f"    {number} reused, whose families died on both nodes, five access tokens of each inactive on every node after"
          f" {spread(raced.ended)}; bar {1e3 * BAR:.0f} ms")
    check(max(raced.ended) <= BAR, "that is too long")


# What an API key may be used for in any so many seconds.
OF_A_KEY, WINDOW = 100, 60
# So many seconds before the end of the window, and after it, more are tried.
LAST = 1


async def api_key(cluster, calls=400):
    """At most 100 in 60 seconds over three nodes. The slack is the difference of the nodes' clocks, here none; and what a node
    lets through by itself, up to a third in all, for requests that had to wait for longer than `postgres.timeout`."""
    headers = {"X-API-Key": (await cluster.api_keys(await cluster.key_keeper(), 1))[0]}
    begun, took = await burst(cluster, headers, calls)
    if not FULL:
        return
    # Before the first of them is as old as the window, and after the last is.
    await asyncio.sleep(begun + WINDOW - LAST - time.monotonic())
    tried = [await node.send("GET", "/v1/users", None, headers) for node in cluster.nodes]
    told, left = time.monotonic() - begun, [answer.headers["retry-after"][0] for answer in tried if "retry-after" in answer.headers]
    check(told < WINDOW, f"it was told after {told:.2f} s: nothing was tried in the window's last seconds")
    check([answer.status for answer in tried] == [429] * 3, f"one more {told:.2f} s after the first:", tried)
    # Not sooner than there is room.
    check(len(left) == 3 and all(told + int(seconds) >= WINDOW for seconds in left), "Retry-After:", left)
    await asyncio.sleep(begun + took + WINDOW + LAST - time.monotonic())
    print(f"    {told:.1f} s after the first a call of each node was refused, Retry-After {', '.join(left)} s; and when the last was {WINDOW + LAST} s ago:")
    await burst(cluster, headers, calls)


async def burst(cluster, headers, calls):
    """So many calls at once: when they began, and how many seconds they took."""
    begun = time.monotonic()
    answers = await asyncio.gather(*(cluster.nodes[i % 3].send("GET", "/v1/users", None, headers) for i in range(calls)))
    took, statuses = time.monotonic() - begun, collections.Counter(answer.status for answer in answers)
    print(f"API key: {calls} calls at once over three nodes: {dict(statuses)} in {took:.2f} s; at most {OF_A_KEY} in {WINDOW} s")
    if took < POSTGRES_TIMEOUT:
        # None of them can have waited for so long.
        check(statuses == {200: OF_A_KEY, 429: calls - OF_A_KEY}, f"it should be {OF_A_KEY}, and the rest 429")
        return begun, took
    # A machine that is short of cores sends some away that waited for the database for too long.
    check(statuses[200] <= OF_A_KEY + 2 * 33 and statuses[200] + statuses[503] >= OF_A_KEY, f"it should be {OF_A_KEY} to {OF_A_KEY + 2 * 33}")
    check(set(statuses) <= {200, 429, 503}, "that is no answer")
    return begun, took


# Of all nodes together, a minute; each of three has a third.
OF_A_CLIENT = 60
# Tries at a password that need no waiting.
FREE = 5


async def token_limit(cluster, calls=300):
    """A limit that each node keeps a third of in memory, once it knows of the two others. A client that was asked for by nobody yet."""
    fresh = await cluster.client(cluster.nodes[0])
    await asyncio.sleep(1)
    answers = await asyncio.gather(*(cluster.nodes[i % 3].token(fresh) for i in range(calls)))
    by_node = [collections.Counter(answer.status for answer in answers[at::3]) for at in range(3)]
    print(f"tokens of a client, {OF_A_CLIENT} a minute: {calls} calls at once over three nodes:"
          f" {', '.join(str(dict(statuses)) for statuses in by_node)}")
    check([statuses[200] for statuses in by_node] == [OF_A_CLIENT // 3] * 3, "each should let a third of it through")
    check(all(set(statuses) == {200, 429} for statuses in by_node), "and refuse the rest by 429")


async def guesses(cluster, client, tries=300):
    """Tries at one account's password from unknown devices, which are counted in the store: there is no slack."""
    pages = [await cluster.sign_in_page(node, client) for node in cluster.nodes]

    async def guess(number):
        node, (jar, action, fields) = cluster.nodes[number % 3], pages[number % 3]
        filled = {**fields, "password": f"a sentence that somebody guesses, {number}"}
        return (await node.send("POST", action, filled, {"Cookie": joined(jar)}, 30.0)).status

    came = collections.Counter(await asyncio.gather(*(guess(number) for number in range(tries))))
    after = collections.Counter(await asyncio.gather(*(guess(number) for number in range(30))))
    print(f"guesses at one account: {tries} at once over three nodes: {dict(came)}, then {dict(after)}; at most {FREE} looked at")
    # 400 is what a wrong password gets; 503 are those that came in each other's way, or found no room.
    check(0 < came[400] and came[400] + after[400] <= FREE, "that is not what may be looked at")
    check(came[429] and set(came) | set(after) <= {400, 429, 503}, "the rest should be refused")
