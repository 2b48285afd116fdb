"""The names of the settings, as docs/settings.md lists them (a test of the binary holds that list against its own)."""

import re


def names():
    rows = re.findall(r"^\| `([a-z_.\[\]*]+)` \| ", open("docs/settings.md").read(), re.MULTILINE)
    assert len(rows) > 50, rows
    return set(rows)


def variables():
    """The environment variables of the settings, and those of secrets and of the settings file."""
    plain = {name for name in names() if "[" not in name and "*" not in name}
    return {"SIGNET_" + name.upper().replace(".", "_") for name in plain} | {
        "SIGNET_CONFIG", "SIGNET_KEYS_KEK", "SIGNET_POSTGRES_PASSWORD"}
