"""Tokens of a client's own (JWT, RS256 and ES256) and JWKS answers a second, node-oidc-provider beside Signet, in turns and in the same
run: each service has core 0 for itself while it is measured, wrk has core 1. Then how long each takes from the start of its process to its
first JWKS answer, and what it keeps in memory. `benches/peers/run tokens` sets the environment."""

import os
import re
import statistics
import subprocess
import sys
import time

import services

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 2
LOAD = services.HERE.parent / "load"
CONNECTIONS = 32
CASES = ["RS256", "ES256", "JWKS"]


def spread(values, digits=0):
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def wrk(service, case, credentials):
    """Answers a second, and the 99th percentile in milliseconds."""
    script, path = ("get.lua", service.jwks) if case == "JWKS" else ("post.lua", service.token)
    client, secret = credentials.get(case, ("", ""))
    output = services.text(
        "taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", LOAD / script, service.url + path,
        env={**os.environ, "CLIENT_ID": client, "CLIENT_SECRET": secret},
    )  # fmt: skip
    rate, p99, failed = re.search(r"RESULT (\S+) (\S+) (\S+)", output).groups()
    if int(failed):
        raise SystemExit(f"{service.name}, {case}: {failed} requests failed")
    return float(rate), float(p99)


def sizes(service, credentials):
    """Bytes of the bodies of each case's answer."""
    found = {"JWKS": len(services.text("curl", "-sf", service.url + service.jwks))}
    for algorithm, (client, secret) in credentials.items():
        form = f"grant_type=client_credentials&client_id={client}&client_secret={secret}&scope=read"
        found[algorithm] = len(services.text("curl", "-sf", "-d", form, service.url + service.token))
    return found


def starts(service, runs):
    """Milliseconds until the keys are published, MiB two seconds after that; what is needed for it is there already."""
    took, resident = [], []
    for _ in range(runs):
        service.stop()
        begun = time.monotonic()
        service.begin()
        service.answers(service.jwks)
        took.append(1000 * (time.monotonic() - begun))
        time.sleep(2)
        resident.append(service.resident())
    return took, resident


def measured(both):
    """Each service's and case's figure of every round; the second half of a round in reverse order, so that a change of the
    machine's speed hits all alike."""
    credentials = {service: service.loads() for service in both}
    for service in both:
        print(f"{service.name}: bytes of an answer: {sizes(service, credentials[service])}", flush=True)
    order = [(service, case) for case in CASES for service in both]
    for service, case in order:
        wrk(service, case, credentials[service])  # Node.js compiles what it runs often.
    rates, latencies = ({each: [] for each in order} for _ in range(2))
    for _ in range(rounds):
        halves = {each: [] for each in order}
        for each in order + order[::-1]:
            halves[each].append(wrk(*each, credentials[each[0]]))
        for each, results in halves.items():
            rates[each].append(statistics.mean(rate for rate, _ in results))
            latencies[each].append(statistics.mean(p99 for _, p99 in results))
    return rates, latencies


def main():
    try:
        awake = open("/dev/cpu_dma_latency", "wb", buffering=0)
        awake.write(bytes(4))  # As long as it is open idle cores are kept awake.
    except OSError:
        print("idle cores may sleep")
    node, signet = services.NodeProvider("node-oidc-provider", 19110, core=0), services.Signet("Signet", 19100, core=0, workers=1)
    both = [node, signet]
    try:
        print(f"Node.js {services.text(services.NODE, '--version').strip()}, {services.text(services.SIGNET, '--version').strip()};"
              f" {rounds} rounds of 2 x {seconds} s, {CONNECTIONS} connections")
        for service in both:
            service.start()
        rates, latencies = measured(both)
        for case in CASES:
            for service in both:
                rate, p99 = rates[service, case], latencies[service, case]
                print(f"{case}, {service.name}: {spread(rate)} a second, p99 {spread(p99, 1)} ms")
            ratio = [ours / theirs for ours, theirs in zip(rates[signet, case], rates[node, case])]
            print(f"{case}: ratio {spread(ratio, 1)}")
        for service in both:
            print(f"{service.name}: {service.resident():.0f} MiB resident after the load")
        for service in both:
            service.stop()
        for service in both:
            took, resident = starts(service, 2 * rounds)
            service.stop()
            print(f"{service.name}: first JWKS answer after {spread(took)} ms, {spread(resident)} MiB resident two seconds later")
    finally:
        for service in both:
            service.end()


main()
