"""How soon every node, and whoever reads status lists, sees what one node was told."""

import asyncio
import base64
import json
import time
import zlib

from client import percentile, spread
from cluster import bar, check

BAR = bar(1.0)
# So much of a rate must be reached for what was seen to be of that rate; all of it in the full form.
REACHED = 0.5
# So much more of it is asked for, since the last are answered a little later than they are asked for.
ASKED = 1.01


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def part(token, number):
    return json.loads(unpadded(token.split(".")[number]))


async def listed(node, token):
    """Whether the status list says that the token is revoked."""
    place = part(token, 1)["status"]["status_list"]
    answer = await node.get("/status/" + place["uri"].rsplit("/", 1)[1], Accept="application/statuslist+jwt")
    if answer.status != 200:
        return None
    document = part(answer.body.decode(), 1)["status_list"]
    check(document["bits"] == 1, "one bit a token is expected")
    return zlib.decompress(unpadded(document["lst"]))[place["idx"] // 8] >> place["idx"] % 8 & 1 == 1


async def until(since, seen, what):
    """Seconds from `since` until `seen()` is true."""
    while not await seen():
        check(time.monotonic() - since < 20 * BAR, what, "was never seen")
        await asyncio.sleep(0.002)
    return max(0.0, time.monotonic() - since)


async def on_all(nodes, seen, what):
    since = time.monotonic()
    return await asyncio.gather(*(until(since, lambda node=node: seen(node), f"{what} at {node.name}") for node in nodes))


def report(what, seconds):
    print(f"{what}: seen on every node after {spread(seconds)}; bars p99 {1e3 * BAR:.0f} ms, largest {5e3 * BAR:.0f} ms")
    check(percentile(seconds, 0.99) <= BAR and max(seconds) <= 5 * BAR, "that is too long")


# What the database does in place of its `pg_notify`: nothing. The nodes listen, and it is never said that there is something.
DEAF = """
    CREATE FUNCTION public.pg_notify(text, text) RETURNS void LANGUAGE sql AS '';
    ALTER DATABASE {name} SET search_path = public, pg_catalog
"""


async def by_polling(cluster, client, full, number, seconds, rate):
    """The same bars where every notification is lost."""
    print("where every notification is lost:")
    seen = await seen_everywhere(cluster, client, number)
    # With a notification it is tens of milliseconds; the node that was told knows at once, and the others when they next ask.
    check(max(seen) > 0.25, "somebody must have been notified: polling was not tried")
    await at_a_rate(cluster, client, full, seconds, rate, polled=True)


async def seen_everywhere(cluster, client, number):
    """How long each revocation took to be seen by introspection."""
    seen = await revocations(cluster, client, number)
    await clients(cluster, number)
    await rotations(cluster, client, max(3, number // 10))
    return seen


async def revocations(cluster, client, number):
    introspection, lists = [], []
    for turn in range(number):
        node, issuer = cluster.nodes[turn % 3], cluster.nodes[(turn + 1) % 3]
        token = (await issuer.token(client)).member("access_token")
        await on_all(cluster.nodes, lambda node, t=token: node.active(client, t), "a token")
        revoked = await node.form("/oauth2/revoke", **client, token=token)
        check(revoked.status == 200, "revocation:", revoked)

        async def refused(node, token=token):
            return not await node.active(client, token)

        async def on_list(node, token=token):
            return await listed(node, token)

        by_node, by_list = await asyncio.gather(
            on_all(cluster.nodes, refused, "a revocation"), on_all(cluster.nodes, on_list, "a bit")
        )
        introspection += by_node
        lists += by_list
    report(f"{number} revocations by introspection", introspection)
    report(f"{number} revocations by status list", lists)
    return introspection


async def at_a_rate(cluster, client, full, seconds, rate=1000, polled=False):
    """So many revocations a second for a while; of every 25th it is seen when each node knows of it."""
    nodes, waiting, asked, least = cluster.nodes, [], round(ASKED * rate), rate if full else REACHED * rate

    async def prepare(node, count):
        waiting.extend([(await node.token(client)).member("access_token") for _ in range(count)])

    await asyncio.gather(*(prepare(nodes[index % 3], asked * seconds // 12 + 1) for index in range(12)))
    answered, seen, refused, ended = [], [], [], 0.0

    async def revoke(number, token):
        nonlocal ended
        answer = await nodes[number % 3].form("/oauth2/revoke", **client, token=token)
        if answer.status != 200:
            refused.append(answer.status)
            return
        answered.append(answer.seconds)
        ended = time.monotonic()
        if number % 25:
            return
        since = time.monotonic()

        async def refused_by(node):
            while await node.active(client, token):
                check(time.monotonic() - since < 20 * BAR, "a revocation was never seen")
                await asyncio.sleep(0.01)
            return time.monotonic() - since

        seen.extend(await asyncio.gather(*(refused_by(node) for node in nodes)))

    begun, number, tasks = time.monotonic(), 0, []
    while number < asked * seconds:
        due = min(asked * seconds, int(asked * (time.monotonic() - begun)))
        # What the service can't keep up with is asked for later: it would only be measured how long it waits.
        while number < due and number - len(answered) - len(refused) < 200:
            tasks.append(asyncio.create_task(revoke(number, waiting[number])))
            number += 1
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    # Until the last that is followed was seen; where that takes half a second by itself, until the last was acknowledged.
    took = (ended if polled else time.monotonic()) - begun
    check(not refused, "refused:", refused[:3])
    print(f"{number} revocations at {number / took:.0f} a second, {asked} asked for, at least {least:.0f} wanted: acknowledged after"
          f" {spread(answered)}; of {len(seen) // 3} that were followed, every node knew after {spread(seen)};"
          f" bars p99 {1e3 * BAR:.0f} ms, largest {5e3 * BAR:.0f} ms")
    check(number / took >= least, f"no more than {number / took:.0f} a second of {rate} were reached: it was not tried")
    check(percentile(seen, 0.99) <= BAR and max(seen) <= 5 * BAR, "that is too long")


async def clients(cluster, number):
    registered, rotated = [], []
    for turn in range(number):
        node = cluster.nodes[turn % 3]
        client = await cluster.client(node)

        async def known(node, client=client):
            return (await node.token(client)).status == 200

        registered += await on_all(cluster.nodes, known, "a client")
        answer = await node.administer("POST", f"/admin/clients/{client['client_id']}/secret", {"overlap_seconds": 0})
        check(answer.status in (200, 201), "a new secret:", answer)

        async def unknown(node, client=client):
            return (await node.token(client)).status == 401

        rotated += await on_all(cluster.nodes, unknown, "a new secret")
    report(f"{number} clients registered", registered)
    report(f"{number} secrets rotated, the old one refused", rotated)


async def rotations(cluster, client, number):
    seconds = []
    for turn in range(number):
        node = cluster.nodes[turn % 3]
        kid = part((await node.token(client)).member("access_token"), 0)["kid"]
        answer = await node.administer("POST", "/admin/keys/rotate", {"force": True})
        check(answer.status == 200, "rotation:", answer)

        async def new(node, kid=kid):
            return part((await node.token(client)).member("access_token"), 0)["kid"] != kid

        seconds += await on_all(cluster.nodes, new, "a new key")
    report(f"{number} keys rotated by force, the new one signing", seconds)
