"""Holds the system calls that a service made against the unit's SystemCallFilter."""

import re
import subprocess
import sys

unit, trace = sys.argv[1:]


def members(name, seen=frozenset()):
    """The system calls of a set, its sets included."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in listed.stdout.splitlines()[1:]]
    found = set()
    for each in lines:
        if each and not each.startswith("#") and each not in seen:
            found |= members(each, seen | {name})
    return found


allowed = set()
for line in open(unit):
    if line.startswith("SystemCallFilter="):
        value = line.split("=", 1)[1].strip()
        named = set().union(*(members(name) for name in value.lstrip("~").split()))
        allowed = allowed - named if value.startswith("~") else allowed | named
# Always allowed: a program could not even start or end (systemd.exec).
allowed |= members("@default")

made = set(re.findall(r"^\d+ +([a-z0-9_]+)\(", open(trace).read(), re.MULTILINE))
if len(made) < 20 or not {"setpriority", "sched_setscheduler"} <= made:
    sys.exit(f"the trace can't be right: {sorted(made)}")
refused = made - allowed
if refused:
    sys.exit(f"the filter refuses what the service needs: {sorted(refused)}")
print(f"systemd: {len(made)} kinds of system calls were made, {len(allowed)} are allowed, none of the former is missing")
