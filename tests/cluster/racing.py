"""Codes and refresh tokens for which many requests come at the same moment: over two nodes, or at the one that there is."""

import asyncio
import collections
import time

from changes import on_all
from cluster import check

# A code doesn't live long: so many are asked for at a time.
CODES_AT_A_TIME = 100

# After how many seconds tokens were inactive, on each node; the races' requests a second; how many of them waited too long and were told
# so; and how long after the first refresh, in seconds, the reuse of its token was answered.
Raced = collections.namedtuple("Raced", "ended rate late reused")


async def at_once(nodes, number, act):
    """The answers to so many requests, `act` of each node in turn, that are sent one right after the other on connections that are open already."""
    turns = [nodes[i % len(nodes)] for i in range(number)]
    for node in nodes:
        await node.open(turns.count(node))
    return await asyncio.gather(*(act(node) for node in turns))


async def dead(cluster, client, tokens):
    """After how long each of these tokens is inactive on every node."""

    async def inactive(node, token):
        return not await node.active(client, token)

    seconds = []
    for token in tokens:
        seconds += await on_all(cluster.nodes, lambda node, token=token: inactive(node, token), "the end of a token")
    return seconds


def in_time(answers, may_be_late):
    """Those that were answered. Others wait too long where the machine has other work, and are told so, if they may be."""
    late = [answer for answer in answers if answer.status == 503]
    check(may_be_late or not late, len(late), "came too late:", late[:3])
    return [answer for answer in answers if answer.status != 503]


def mostly_in_time(late, number):
    check(late <= number / 2, late, "of", number, "requests came too late: that were no races")


def is_refused(answer):
    return (answer.status, answer.member("error")) == (400, "invalid_grant")


async def racing_codes(cluster, client, cookies, number, racing, may_be_late):
    """Each code is redeemed by exactly one of many; the others are told `invalid_grant`, and what the one got ends by that."""
    nodes, ended, took, late = cluster.nodes[:2], [], 0.0, 0
    for left in range(number, 0, -CODES_AT_A_TIME):
        for code in await cluster.codes(client, cookies, min(left, CODES_AT_A_TIME)):
            begun = time.monotonic()
            answers = await at_once(nodes, racing, lambda node, code=code: node.redeem(client, code))
            took += time.monotonic() - begun
            told = in_time(answers, may_be_late)
            late += racing - len(told)
            winners = [answer for answer in told if answer.status == 200]
            others = [answer for answer in told if answer.status != 200 and not is_refused(answer)]
            # Who won may be among those who were not told.
            check(len(winners) == 1 or not winners and len(told) < racing, f"a code had {len(winners)} winners;", others[:3])
            check(not others, len(others), "answers are not invalid_grant:", others[:3])
            ended += await dead(cluster, client, [answer.member("access_token") for answer in winners])
            for winner in winners:
                refreshed = await nodes[-1].refresh(client, winner.member("refresh_token"))
                check(is_refused(refreshed), "what the winner got can be refreshed:", refreshed)
    mostly_in_time(late, number * racing)
    return Raced(ended, number * racing / took, late, [])


async def racing_refreshes(cluster, client, cookies, number, racing, may_be_late):
    """Who races gets the same child, and who retries; an older one, reused at once, kills the family with all its access tokens."""
    nodes, ended, took, late, reused_after = cluster.nodes[:2], [], 0.0, 0, []
    for left in range(number, 0, -CODES_AT_A_TIME):
        for code in await cluster.codes(client, cookies, min(left, CODES_AT_A_TIME)):
            redeemed = await nodes[0].redeem(client, code)
            first = redeemed.member("refresh_token")
            check(first, "a code gave no refresh token")
            begun = time.monotonic()
            answers = await at_once(nodes, racing, lambda node, first=first: node.refresh(client, first))
            took += time.monotonic() - begun
            answers = in_time(answers, may_be_late)
            late += racing - len(answers)
            if not answers:
                continue
            children = {answer.member("refresh_token") for answer in answers}
            check(all(answer.status == 200 for answer in answers), "refused:", [a for a in answers if a.status != 200][:3])
            check(len(children) == 1, len(children), "children")
            again = await nodes[-1].refresh(client, first)
            check(again.member("refresh_token") in children, "a retry within the grace got another child:", again)
            second = await nodes[-1].refresh(client, children.pop())
            check(second.status == 200, "the child was refused:", second)
            reused = await nodes[0].refresh(client, first)
            check(is_refused(reused), "reuse:", reused)
            reused_after.append(time.monotonic() - begun)
            family = (redeemed, answers[0], answers[-1], again, second)
            ended += await dead(cluster, client, [answer.member("access_token") for answer in family])
            next_one = await nodes[-1].refresh(client, second.member("refresh_token"))
            check(is_refused(next_one), "the family lives on:", next_one)
    mostly_in_time(late, number * racing)
    return Raced(ended, number * racing / took, late, reused_after)
