"""Whether a refused sign-in tells by its time which names exist: the short form of benches/load/enumeration.

Wrong passwords under names that are known, unknown and disabled, one after the other in a new order each round. Others may work on
this machine meanwhile, so it is the service's processor time that is compared, by the medians of the differences within a round: what
the system gives to others does not count, and a median does not mind the few requests beside which something else went on.
"""

import http.client
import json
import os
import random
import re
import statistics

from service import FULL, Service, fail, form, say

ROUNDS, BAR = (300, 0.05) if FULL else (100, 0.1)
KINDS = ["known", "unknown", "disabled"]
service = Service(18662, SIGNET_WORKERS="1")
connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
ADMIN = {"Authorization": "Bearer " + service.token("administrator"), "Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def worked():
    """For how long each thread of the service has run, in nanoseconds (proc(5): schedstat)."""
    tasks, ran = f"/proc/{service.process.pid}/task", {}
    for task in os.listdir(tasks):
        try:
            with open(f"{tasks}/{task}/schedstat") as file:
                ran[task] = int(file.read().split()[0])
        except FileNotFoundError:
            pass  # It has ended.
    return ran


def ask(method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer, answer.read().decode()


def add(kind, number):
    """A name for each round: many tries of one name would meet the throttle."""
    account = {"name": "Somebody", "email": f"{kind}{number}@example.com", "password": "a sentence nobody guesses"}
    answer, made = ask("POST", "/admin/users", json.dumps(account), ADMIN)
    if answer.status == 201 and kind == "disabled":
        answer, made = ask("PATCH", f"/admin/users/{json.loads(made)['id']}", '{"disabled": true}', ADMIN)
    if answer.status not in (200, 201):
        fail(service, f"no account: {answer.status} {made}")


def attempt(kind, number):
    """Milliseconds of processor time, and the answer without what differs by itself."""
    name = f"{kind}{number}@example.com"
    answer, page = ask("GET", "/account")
    cookie = answer.getheader("Set-Cookie").split(";")[0]
    state = re.search(r'name="state" value="([^"]+)"', page)[1]
    body = form({"state": state, "username": name, "password": f"wrong {number}"})
    before = worked()
    answer, page = ask("POST", "/oauth2/sign-in", body, {**FORM, "Cookie": cookie})
    took = sum(ran - before.get(task, 0) for task, ran in worked().items()) / 1e6
    headers = sorted(key.lower() for key, _ in answer.getheaders())
    plain = re.sub(r'name="state" value="[^"]+"', "", page).replace(name, "")
    return took, (answer.status, tuple(headers), plain)


times, answers = {kind: [] for kind in KINDS}, set()
for number in range(ROUNDS):
    add("known", number)
    add("disabled", number)
    for kind in random.sample(KINDS, len(KINDS)):
        took, answer = attempt(kind, number)
        times[kind].append(took)
        answers.add(answer)
if len(answers) != 1 or {status for status, _, _ in answers} != {400}:
    fail(service, f"the answers differ: {[(status, headers) for status, headers, _ in answers]}")
usual = statistics.median(times["unknown"])
shares = {}
for kind in ("known", "disabled"):
    differences = [one - other for one, other in zip(times[kind], times["unknown"])]
    shares[kind] = statistics.median(differences) / usual
told = ", ".join(f"{kind} {100 * share:+.1f} %" for kind, share in shares.items())
say(f"names: {ROUNDS} rounds, one answer to all; an unknown name takes {usual:.1f} ms of work, from which differ {told} (allowed {100 * BAR:.0f} %)")
if max(map(abs, shares.values())) > BAR:
    fail(service, "the time tells which names exist")
service.close()
