"""Row 5: a full disk is an outage of writes only. Needs root, for a small file system of its own."""

import errno
import json
import os
import pathlib
import random
import subprocess
import tempfile
import threading
import time

from service import FULL, RESOURCE, ResourceServer, Service, ask, basic, fail, form, say

MIB = 1024 * 1024
POINTS = 50
HELD = 600 if FULL else 3
directory = pathlib.Path(tempfile.mkdtemp(prefix="signet-disk-"))
mounted = os.geteuid() == 0 and not subprocess.run(
    ["mount", "-t", "tmpfs", "-o", "size=256m,mode=700", "tmpfs", directory], capture_output=True
).returncode
if not mounted:
    directory.rmdir()
    say("disk: PASSED OVER: no file system can be mounted here; run it as root")
    raise SystemExit(0)

chance = random.Random(5)
filler = directory / "filler"


def free():
    system = os.statvfs(directory)
    return system.f_bavail * system.f_frsize


def fill(leave):
    """Takes all but `leave` bytes. The file is there from the start: a full file system may refuse to make one."""
    block = b"\0" * 65536
    with open(filler, "r+b", buffering=0) as file:
        file.seek(0, os.SEEK_END)
        try:
            while (more := free() - leave) > 0:
                file.write(block[:min(more, len(block))])
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def make_room():
    os.truncate(filler, 0)


def run():
    filler.touch()
    service = Service(18660, directory)
    # Which waits for the first keys: nothing is published before all of them are on disk.
    ask(service.port, "GET", "/.well-known/jwks.json")
    demo = basic(service.credentials("demo client"))
    admin = service.token("administrator")
    api, held = ResourceServer(service, 18662), service.token()
    acknowledged, revoked, lock = [], [], threading.Lock()
    counts = {"written": 0, "refused": 0, "published": 0, "verified": 0, "restarts": 0}
    resumed = []
    over, paused = threading.Event(), threading.Event()

    def write(thread):
        number = 0
        while not over.is_set():
            if paused.is_set():
                time.sleep(0.01)
                continue
            number += 1
            name = f"client-{thread}-{number}"
            try:
                if thread % 2:
                    body = json.dumps({"client_id": name, "client_name": "x", "scope": "", "resources": [RESOURCE]})
                    headers = {"Authorization": "Bearer " + admin, "Content-Type": "application/json"}
                    status = ask(service.port, "POST", "/admin/clients", body, headers)[0]
                    done, log, what = status == 201, acknowledged, name
                else:
                    token = json.loads(ask(service.port, "POST", "/oauth2/token",
                                           form({"grant_type": "client_credentials"}), demo)[2])["access_token"]
                    status = ask(service.port, "POST", "/oauth2/revoke", form({"token": token}), demo)[0]
                    done, log, what = status == 200, revoked, token
            except (OSError, KeyError, ValueError):
                continue
            with lock:
                if done:
                    log.append(what)
                    counts["written"] += 1
                elif status == 503:
                    counts["refused"] += 1
                else:
                    fail(service, f"a write was answered with {status}")

    def published():
        for path in ["/.well-known/jwks.json", "/.well-known/openid-configuration", "/status"]:
            status = ask(service.port, "GET", path)[0]
            if status != 200:
                fail(service, f"{path} while the disk is full: {status}")
            counts["published"] += 1
        # It fetches the status list anew whenever its copy is too old.
        status = api.opens(held)
        if status != 200:
            fail(service, f"a token that is verified offline while the disk is full: {status}")
        counts["verified"] += 1

    def wait_for(what, seconds):
        begun = time.monotonic()
        while not what():
            if time.monotonic() - begun > seconds:
                return None
            time.sleep(0.02)
        return time.monotonic() - begun

    def writes(more):
        return lambda: counts["written"] > more

    def restart():
        nonlocal admin
        paused.set()
        counts["restarts"] += 1
        service.stop()
        service.start()
        paused.clear()

    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in range(4)]
    [thread.start() for thread in threads]
    full_seen = 0
    # At random points: sometimes a little is left, less than the service keeps free; sometimes nothing at all.
    for point in range(POINTS):
        time.sleep(chance.random() * 0.1)
        refused = counts["refused"]
        fill(chance.choice([0, 0, chance.randrange(0, 31 * MIB)]))
        if wait_for(lambda: counts["refused"] > refused + 3, 10) is None:
            fail(service, f"nothing was refused with {free()} bytes free")
        published()
        status, said = service.ready()
        if status != 503:
            fail(service, f"it says it is ready: {said}")
        full_seen += said["disk"] == "full"
        if point == POINTS - 1:
            end = time.monotonic() + HELD
            while time.monotonic() < end:
                published()
                time.sleep(0.2)
        make_room()
        before = counts["written"]
        took = wait_for(lambda: writes(before)() or service.ready()[1]["store"] == "restart", 30)
        if service.ready()[1]["store"] == "restart":
            restart()
            took = wait_for(writes(before), 30)
        if took is None:
            said = service.ready()[1]
            fail(service, f"30 s after there is room again nothing is written: {said}")
        resumed.append(took)
        ready = wait_for(lambda: service.ready()[0] == 200, 30)
        if ready is None:
            fail(service, f"30 s after there is room again it is not ready: {service.ready()}")
        # The service's log of acts grows; there is room for it.
        if len(acknowledged) > 20000:
            break
    # It says so while there is still room.
    fill(36 * MIB)
    said = service.ready()[1]["disk"]
    part = service.metric("signet_disk_free_bytes") / service.metric("signet_disk_size_bytes")
    make_room()
    over.set()
    [thread.join(20) for thread in threads]
    if said != "low" or part > 0.15:
        fail(service, f"with {part:.0%} free it says {said}")
    # Nobody asks for anything while it is not ready: it finds out by itself.
    fill(0)
    token = service.token("administrator")
    headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
    for number in range(200):
        body = json.dumps({"client_name": "x", "scope": "", "resources": [RESOURCE]})
        status = ask(service.port, "POST", "/admin/clients", body, headers)[0]
        if status != 503:
            fail(service, f"a full disk: {status}")
        fill(0)
    audit = service.ready()[1]["audit"]
    make_room()
    alone = wait_for(lambda: service.ready()[0] == 200, 30)
    if alone is None:
        fail(service, f"it does not find out by itself that there is room again: {service.ready()}")
    service.stop()
    service.start()
    admin = service.token("administrator")
    lost = [name for name in acknowledged
            if ask(service.port, "GET", f"/admin/clients/{name}", None, {"Authorization": "Bearer " + admin})[0] != 200]
    alive = [token for token in revoked if json.loads(ask(
        service.port, "POST", "/oauth2/introspect", form({"token": token}), demo)[2])["active"]]
    if lost or alive:
        fail(service, f"{len(lost)} clients and {len(alive)} revocations that were acknowledged are lost")
    say(f"disk: full at {POINTS} points ({full_seen} seen as disk: full): {counts['written']} writes acknowledged, 0 lost; "
        f"{counts['refused']} refused with 503; {counts['published']} of {counts['published']} requests for keys, metadata and "
        f"status served, {counts['verified']} of {counts['verified']} tokens verified offline; writes resumed after {max(resumed):.2f} s at most; {counts['restarts']} restarts were needed; "
        f"asked for nothing it was ready again {alone:.1f} s after there was room (audit log {audit} before)")
    api.close()
    service.close()


try:
    run()
finally:
    subprocess.run(["umount", "-l", directory], check=False)
    directory.rmdir()
