"""A network of its own for a service that is measured. Over loopback whoever sends does the receiver's part of the network's work too:
what thousands of clients' systems have to do with their packets would be done on the service's core, and count as its doing."""

import atexit
import os
import pathlib
import subprocess

# Of the network that is set aside for measuring (RFC 2544, appendix C.2.2).
CLIENTS, SERVICE = "198.18.0.1", "198.18.0.2"
PREFIX = "signet-faults-"


def take_up(of_the_dead=False):
    """Removes the network of this process, or those of processes that are no more: a second one of the same addresses would lead nowhere."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout.split()
    for name in listed:
        if name.startswith(PREFIX):
            process = name.removeprefix(PREFIX)
            if not pathlib.Path("/proc", process).exists() if of_the_dead else process == str(os.getpid()):
                subprocess.run(["ip", "netns", "del", name], capture_output=True)


def lay(service_cores, client_cores):
    """Lays a cable to a network of the service's own; its end is looked after on the service's cores, the other one on the clients'. Gives
    what a command is prefixed with to run there, and the address; nothing where that may not be done, which only root may."""
    name = f"{PREFIX}{os.getpid()}"
    ours, theirs = f"sc{os.getpid() % 10_000_000}", f"ss{os.getpid() % 10_000_000}"
    inside = ["ip", "netns", "exec", name]

    def run(*command):
        subprocess.run(command, check=True, capture_output=True)

    def receive_on(cores, place):
        mask = f"{sum(1 << core for core in cores):x}"
        run(*place, "sh", "-c", f"echo {mask} > $0", f"/sys/class/net/{theirs if place else ours}/queues/rx-0/rps_cpus")

    try:
        take_up(of_the_dead=True)
        atexit.register(take_up)
        run("ip", "netns", "add", name)
        run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        for place, end, address in ([], ours, CLIENTS), (inside, theirs, SERVICE):
            run(*place, "ip", "address", "add", f"{address}/30", "dev", end)
            run(*place, "ip", "link", "set", end, "up")
        run(*inside, "ip", "link", "set", "lo", "up")
        receive_on(client_cores, [])
        receive_on(service_cores, inside)
    except (OSError, subprocess.CalledProcessError):
        return None
    return inside, SERVICE
