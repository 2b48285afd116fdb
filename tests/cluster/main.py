"""`main.py BINARIES DIRECTORY [--full] [PART…]`: the parts of tests/cluster/run, which starts the database before."""

import asyncio
import pathlib
import signal
import sys
import time

import changes
import drill
import failures
import freeze
import outages
import races
import rotation
import slow
from cluster import WIRE, Cluster, bar, check

PARTS = ["races", "changes", "limits", "drill", "rotation", "partition", "kill", "freeze", "slow", "blackhole", "failover"]
HURRIED = {
    # M 2, P 2, S 14, T 5: the shortest lead and hold that are safe.
    "keys.jwks_max_age": "2s", "keys.propagation": "2s", "keys.clock_skew": "14s", "keys.lead": "18s", "keys.hold": "21s",
    "keys.rotation_period": "19s", "tokens.lifetime": "5s", "tokens.longest_lifetime": "5s", "tokens.status_list_ttl": "1s",
}
LIMITED = {"keys.propagation": "5s", "limits.token_per_client": str(races.OF_A_CLIENT)}
STEADY = {"keys.propagation": "5s", "tokens.status_list_ttl": "1s"}


async def main(binaries, directory, arguments):
    full, parts = "--full" in arguments, [part for part in arguments if part != "--full"] or PARTS
    check(set(parts) <= set(PARTS), "the parts are", *PARTS)
    begun = time.monotonic()
    if full and "blackhole" in parts:
        # What a wire acknowledges and keeps to itself is another outage than the one that is asked for.
        check(outages.Dropped.possible(), "blackhole: packets can't be dropped here, which needs a network of one's own and tc")
    hurried, steady = set(parts) & {"rotation", "partition"}, set(parts) - {"rotation", "partition", "slow", "blackhole"}
    if hurried:
        async with running(Cluster(binaries, directory, "hurried", **HURRIED), [2]) as (cluster, wire):
            if "rotation" in parts:
                await rotation.under_load(cluster, 80 if full else 46)
            if "partition" in parts:
                await rotation.partition(cluster, wire, 30 if full else 10)
    if "changes" in parts:
        async with running(Cluster(binaries, directory, "deaf", changes.DEAF, **STEADY)) as (cluster, _):
            client = await cluster.client(cluster.nodes[0])
            await cluster.everywhere(client)
            await changes.by_polling(cluster, client, full, *((100, 20, 1000) if full else (20, 3, 300)))
    if "limits" in parts:
        async with running(Cluster(binaries, directory, "limited", **LIMITED)) as (cluster, _):
            client, _ = await begin(cluster)
            await races.guesses(cluster, client)
            # Each announces itself three times in P, and hears of the others.
            await asyncio.sleep(bar(2 * 5 / 3))
            await races.token_limit(cluster)
    if "blackhole" in parts:
        truly = outages.Dropped.possible()
        if not truly:
            print("packets can't be dropped here, which needs a network of one's own and tc: a wire swallows them instead")
        async with running(Cluster(binaries, directory, "cut_off", **STEADY), () if truly else range(3)) as (cluster, wire):
            client, cookies = await begin(cluster)
            outage = outages.Dropped() if truly else outages.Swallowed(wire)
            await freeze.silence(cluster, client, cookies, outage, 5, 30 if full else 8)
    if "freeze" in parts:
        # P as it is unless set: 30 s. Before the primary is lost for good.
        async with running(Cluster(binaries, directory, "unset", **{"tokens.status_list_ttl": "1s"})) as (cluster, _):
            client, cookies = await begin(cluster)
            await freeze.silence(cluster, client, cookies, outages.Frozen(cluster), 30, 45 if full else 8)
    if "slow" in parts:
        # P as it is unless set where there is time for it; each phase is longer.
        hurry = {} if full else {"keys.propagation": "12s"}
        async with running(Cluster(binaries, directory, "slow", **{"tokens.status_list_ttl": "1s"}, **hurry)) as (cluster, _):
            client, _ = await begin(cluster)
            await slow.commits(cluster, client, 45 if full else 16)
    if steady:
        async with running(Cluster(binaries, directory, "steady", **STEADY)) as (cluster, _):
            client, cookies = await begin(cluster)
            if "races" in parts:
                await races.codes(cluster, client, cookies, 1000 if full else 50)
                await races.refreshes(cluster, client, cookies, *((1000, 200) if full else (50, 50)))
            if "changes" in parts:
                await changes.seen_everywhere(cluster, client, 200 if full else 30)
                await changes.at_a_rate(cluster, client, full, 30 if full else 5)
            if "limits" in parts:
                await races.api_key(cluster)
            if "drill" in parts:
                await drill.compromise(cluster)
            if "kill" in parts:
                await failures.kill(cluster, client, cookies)
            if "freeze" in parts:
                await freeze.silence(cluster, client, cookies, outages.Frozen(cluster), 5, 30 if full else 10)
            if "failover" in parts:
                await failures.failover(cluster, client, cookies)
    print(f"cluster: {', '.join(parts)} in {time.monotonic() - begun:.0f} s")


async def begin(cluster):
    """A client that every node knows, and the cookies of somebody who has signed in."""
    client = await cluster.client(cluster.nodes[0])
    await cluster.everywhere(client)
    return client, await cluster.sign_in(client)


class running:
    """The nodes, of which some have a wire to the database; ended whatever comes."""

    def __init__(self, cluster, wired=()):
        self.cluster, self.wired, self.wire = cluster, wired, rotation.Wire() if wired else None

    async def __aenter__(self):
        try:
            if self.wire:
                await self.wire.start()
            await self.cluster.start([self.cluster.database(*[WIRE] * (node in self.wired)) for node in range(3)])
        except BaseException:
            await self.__aexit__()
            raise
        return self.cluster, self.wire

    async def __aexit__(self, *_):
        await self.cluster.stop()
        if self.wire:
            await self.wire.close()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.stdout.reconfigure(line_buffering=True)
    asyncio.run(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]))
