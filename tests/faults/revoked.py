"""Row 10: however many tokens stand revoked, introspection is quick."""

import json
import os
import subprocess
import sys
import tempfile
import time

from good import Good, percentiles
from service import FULL, STORE, Service, apart, ask, basic, binary, fail, form, say, two_cores, undisturbed

ENTRIES = 1_000_000 if FULL else 50_000
# In milliseconds.
BAR = 5.0
SECONDS = 10 if FULL else 4
# How often what is over the bar is measured, not counting turns in which others used the service's core; and how often in all.
TURNS, AT_MOST = 3, 6
# As slow.py does it: a p99 is to say what the service takes, not what the script does.
cores = two_cores()
filler = binary().parent / "examples/fill"
if not filler.exists():
    sys.exit("build it first: cargo build --release --example fill")
service = Service(18668, cores=cores and cores[0])
if cores:
    os.sched_setaffinity(0, cores[1])
elif FULL:
    fail(service, "introspection's p99 can't be judged where there is one core for all")
else:
    say("revoked: one core for all: a p99 says more of the script than of the service")
demo = basic(service.credentials("demo client"))
held = [service.token() for _ in range(100)]
for token in held[::2]:
    if ask(service.port, "POST", "/oauth2/revoke", form({"token": token}), demo)[0] != 200:
        fail(service, "a token is not revoked")
tokens = tempfile.NamedTemporaryFile("w", prefix="signet-faults-tokens-")
tokens.write("\n".join(held))
tokens.flush()
good = Good(service, rate=200, tokens=tokens.name)


def told_apart():
    """Asks for each whether it counts: every other one was revoked."""
    said = [json.loads(ask(service.port, "POST", "/oauth2/introspect", form({"token": token}), demo)[2])["active"] for token in held]
    if said != [False, True] * (len(held) // 2):
        fail(service, f"of tokens of which every other one was revoked these count: {said}")


def measured(where):
    """What a turn came to: the 99th percentile of introspections, and how the service ran meanwhile."""
    answers, ran = apart(service, lambda: good.measure(SECONDS))
    took = answers["introspection"]
    as_seen, p99 = percentiles(took, 99)
    say(f"revoked: {where}: introspection p50 {percentiles(took, 50)[0]:.1f}, p99 {p99:.1f} ms ({as_seen:.1f} with the time that others had the "
        f"cores), bar {BAR:.0f} ms{', OVER THE BAR' if p99 >= BAR else ''} ({len(took)} requests beside {len(answers['token'])} for tokens and {len(answers['keys'])} for keys)")
    return p99, ran


told_apart()
for _ in range(TURNS):
    without, before = measured("without them")
    if without < BAR:
        break
code, _ = service.stop()
if code:
    fail(service, f"it ended with {code}")
# By the service's own rooms, but not by requests, which would take an hour.
begun = time.monotonic()
place = STORE.get("SIGNET_STORE", service.directory / "data")
if subprocess.run([filler, place, "0", str(ENTRIES)], stdout=sys.stderr).returncode:
    fail(service, f"{place} was not filled")
took = time.monotonic() - begun
service.start()
entries = service.metric("signet_status_list_entries")
if entries < ENTRIES:
    fail(service, f"of {ENTRIES} revocations it knows {entries:.0f}")
told_apart()
say(f"revoked: {entries:,.0f} live entries{' in PostgreSQL' if STORE else ''}, filled in {took:.0f} s; ready after {service.started_in:.1f} s, "
    f"{service.resident():.0f} MiB resident")
over = []
for _ in range(AT_MOST):
    p99, during = measured(f"with {entries:,.0f}")
    if p99 < BAR:
        break
    # Where it is as slow without them, others keep the clients from their core.
    if without < BAR and undisturbed(before, during):
        over.append(p99)
    if len(over) == TURNS:
        break
if p99 >= BAR:
    if cores and len(over) == TURNS:
        fail(service, f"p99 is {min(over):.1f} ms or more, each of {TURNS} times, and others took none of the service's time")
    reason = f"revoked: not judged, for others used the cores: {len(over)} of {AT_MOST} turns count, p99 is {without:.1f} ms without any revoked token"
    if FULL:
        fail(service, reason)
    say(reason)
told_apart()
service.close()
