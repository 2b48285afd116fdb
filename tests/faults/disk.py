"""Row 5: a full disk is an outage of writes only. Needs root, for a small file system of its own."""

import json
import random
import time

from service import FULL, RESOURCE, Service, ask, fail, say
from small_disk import MIB, Load, SmallDisk, wait_for

POINTS = 50
HELD = 600 if FULL else 3
# So many clients are registered at most: the log of acts grows, and there is room for it.
MOST = 20000
chance, disk = random.Random(5), SmallDisk("disk", 700)


def run():
    service = Service(18660, disk.directory)
    load = Load(service, 18662)
    counts, resumed = load.counts, []
    seen = full_seen = restarts = 0

    def restart():
        nonlocal restarts
        load.paused.set()
        restarts += 1
        service.stop()
        service.start()
        load.paused.clear()

    # At random points: sometimes a little is left, less than the service keeps free; sometimes nothing at all.
    for point in range(POINTS):
        time.sleep(chance.random() * 0.1)
        refused = counts["refused"]
        disk.fill(chance.choice([0, 0, chance.randrange(0, 31 * MIB)]))
        if wait_for(lambda: counts["refused"] > refused + 3, 10) is None:
            fail(service, f"nothing was refused with {disk.free()} bytes free")
        held = load.settled()
        load.reads()
        status, said = service.ready()
        if status != 503:
            fail(service, f"it says it is ready: {said}")
        seen += 1
        full_seen += said["disk"] == "full"
        if point == POINTS - 1:
            end = time.monotonic() + HELD
            while time.monotonic() < end:
                load.reads()
                time.sleep(0.2)
        before = counts["written"]
        if before > held:
            fail(service, f"{before - held} writes were acknowledged while the disk was full, {disk.free()} bytes free")
        disk.make_room()
        took = wait_for(lambda: load.writes(before)() or service.ready()[1]["store"] == "restart", 30)
        if service.ready()[1]["store"] == "restart":
            restart()
            took = wait_for(load.writes(before), 30)
        if took is None:
            said = service.ready()[1]
            fail(service, f"30 s after there is room again nothing is written: {said}")
        resumed.append(took)
        ready = wait_for(lambda: service.ready()[0] == 200, 30)
        if ready is None:
            fail(service, f"30 s after there is room again it is not ready: {service.ready()}")
        if len(load.acknowledged) > MOST:
            load.paused.set()
            fail(service, f"after {seen} of {POINTS} points the log of acts is as large as there is room for: let it write less")
    # It says so while there is still room.
    disk.fill(36 * MIB)
    said = service.ready()[1]["disk"]
    part = service.metric("signet_disk_free_bytes") / service.metric("signet_disk_size_bytes")
    disk.make_room()
    load.stop()
    if said != "low" or part > 0.15:
        fail(service, f"with {part:.0%} free it says {said}")
    # Nobody asks for anything while it is not ready: it finds out by itself.
    disk.fill(0)
    load.admin = service.token("administrator")
    for number in range(200):
        body = json.dumps({"client_name": "x", "scope": "", "resources": [RESOURCE]})
        status = ask(service.port, "POST", "/admin/clients", body, load.as_administrator())[0]
        if status != 503:
            fail(service, f"a full disk: {status}")
        disk.fill(0)
    audit = service.ready()[1]["audit"]
    disk.make_room()
    alone = wait_for(lambda: service.ready()[0] == 200, 30)
    if alone is None:
        fail(service, f"it does not find out by itself that there is room again: {service.ready()}")
    load.check()
    say(f"disk: full at {seen} of {POINTS} points ({full_seen} seen as disk: full): {load.told()}, none acknowledged while it was full; {counts['issued']} of "
        f"{counts['issued']} tokens issued; writes resumed after {max(resumed):.2f} s at most; {restarts} restarts were needed; "
        f"asked for nothing it was ready again {alone:.1f} s after there was room (audit log {audit} before)")
    load.api.close()
    service.close()


disk.try_out(run)
