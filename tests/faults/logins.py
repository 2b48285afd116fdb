"""Row 21: password hashing is no lever: many sign-ins at once cost bounded memory, and others are served meanwhile."""

import re
import threading
import time

from service import Good, Service, ask, compare, fail, form, say

PARALLEL, PERMITS, EACH = 500, 2, 19
service = Service(18650, SIGNET_PASSWORDS__HASHING_PERMITS=str(PERMITS))
good = Good(service)
status, headers, page = ask(service.port, "GET", "/account")
cookie = "; ".join(value.split(";")[0] for value in headers.get_all("Set-Cookie"))
state = re.search(rb'name="state" value="([^"]*)"', page).group(1).decode()
statuses, waits, lock = {}, [], threading.Lock()


def sign_in(number):
    body = form({"state": state, "username": f"nobody-{number}@example.com", "password": "a wrong pass phrase"})
    try:
        status, headers, _ = ask(service.port, "POST", "/oauth2/sign-in", body, {"Cookie": cookie}, patience=120)
    except OSError:
        # More connect at once than the system lets wait.
        status = "reset"
    with lock:
        statuses[status] = statuses.get(status, 0) + 1
        if status == 503:
            waits.append(headers["Retry-After"])


baseline = good.measure(3)
before = service.resident()
during = good.begin(6)
begun = time.monotonic()
threads = [threading.Thread(target=sign_in, args=(number,)) for number in range(PARALLEL)]
[thread.start() for thread in threads]
peak = before
while any(thread.is_alive() for thread in threads):
    peak = max(peak, service.resident())
    time.sleep(0.01)
took = time.monotonic() - begun
figures = during()
say(f"logins: {PARALLEL} at once, {PERMITS} permits: {statuses} in {took:.1f} s; RSS {before:.0f} -> at most {peak:.0f} MiB "
    f"(+{peak - before:.0f}, allowed {PERMITS * EACH + 64})")
if peak - before > PERMITS * EACH + 64:
    fail(service, "too much memory")
if set(statuses) - {400, 503, "reset"} or statuses.get("reset", 0) > PARALLEL // 100 or not statuses.get(503) or not statuses.get(400):
    fail(service, "some should have been looked at, and the rest sent away with 503")
if not all(wait and int(wait) > 0 for wait in waits):
    fail(service, f"a 503 without Retry-After: {waits[:5]}")
compare(baseline, figures, "500 sign-ins")
service.close()
