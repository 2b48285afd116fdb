"""What strace(1) recorded of a directory, and what a disk may hold of it after a power cut.

The recording has every call by which anything below the directory is written, named or synced, with its bytes, in the order in
which they began and ended. A disk is sure to hold only what was synced: for a file, what was written by calls that had ended
before an fsync or fdatasync of that file began, when that has ended; for a name, the same with the directory that it stands in.
sync_file_range promises nothing about the drive, and counts as nothing. Of all else the disk may hold anything: each sector is as
any of the writes since left it, or as it was. A sector is never newer in one half, since the page cache hands out whole ones.
"""

import copy
import os
import re

CALLS = ("open,openat,creat,openat2,lseek,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,"
         "sync,syncfs,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,mmap,"
         "copy_file_range,sendfile,splice,io_uring_setup,io_setup")
STRACE = ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "100000000", "-e", "signal=none", "-e", "trace=" + CALLS]
# Calls that this model does not know. One of them on a file below the directory is an error, not a gap.
UNKNOWN = {"writev", "pwritev", "pwritev2", "truncate", "symlink", "symlinkat", "copy_file_range", "sendfile",
           "splice", "sync", "syncfs", "openat2", "creat"}

HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")
FILE = re.compile(r"^(\d+)<([^>]*)>(\(deleted\))?$")


def text(quoted):
    """What stands in a string, or in a path in angle brackets, of which strace writes every byte as \\xNN."""
    return bytes.fromhex(quoted.strip('"').replace("\\x", ""))


def calls(path):
    """Every call: where it began and where it ended in the order of the recording, process, name, arguments, result.

    One that never ended has no end: its process was killed in it.
    """
    open_calls, found = {}, []
    with open(path, encoding="ascii") as file:
        for number, line in enumerate(file):
            process, _, rest = line.rstrip("\n").partition(" ")
            rest = rest.lstrip()
            if rest.startswith(("+++", "---")):
                continue
            if rest.startswith("<... "):
                begun, name, arguments = open_calls.pop(process)
                more, _, result = rest[rest.index(" resumed>") + 9:].rpartition(" = ")
                ended = None if result.strip().startswith("?") else number
                found.append([begun, ended, process, name, split(arguments + more.rstrip()[:-1]), result.strip()])
                continue
            name, _, rest = rest.partition("(")
            if rest.endswith(" <unfinished ...>"):
                open_calls[process] = (number, name, rest[:-17])
                continue
            arguments, _, result = rest.rpartition(" = ")
            found.append([number, number, process, name, split(arguments.rstrip()[:-1]), result.strip()])
    for process, (begun, name, arguments) in open_calls.items():
        if name != "exit_group":
            found.append([begun, None, process, name, split(arguments), "?"])
    return sorted(found, key=lambda call: call[0])


def split(arguments):
    return arguments.rstrip().rstrip(",").split(", ")


class File:
    """The content of a file: what is sure, and what was done to it since."""

    def __init__(self, content=b""):
        self.sure, self.since, self.live = bytearray(content), [], bytearray(content)

    def do(self, act):
        self.since.append(act)
        apply(self.live, act)


class Act:
    """A write of `data` at `offset`, or, without data, a new length."""

    def __init__(self, begun, ended, offset, data):
        self.begun, self.ended, self.offset, self.data = begun, ended, offset, data

    def length(self, before):
        return self.offset if self.data is None else max(before, self.offset + len(self.data))


def apply(content, act):
    if act.data is None:
        if act.offset < len(content):
            del content[act.offset:]
        else:
            content.extend(bytes(act.offset - len(content)))
        return
    if act.offset > len(content):
        content.extend(bytes(act.offset - len(content)))
    content[act.offset:act.offset + len(act.data)] = act.data


class Name:
    """One change of names: each of `removed` goes, and `made`, if any, stands for `what`: a File, or None for a directory."""

    def __init__(self, begun, ended, removed, made=None, what=None):
        self.begun, self.ended, self.removed, self.made, self.what = begun, ended, removed, made, what
        # A later change was synced, so that a file system with a journal has this one too.
        self.journalled = False
        # Its directory was synced; but the directory's own name may not be.
        self.synced = False
        self.directories = {os.path.dirname(name) for name in [*removed, *([made] if made else [])]}

    def change(self, names):
        """Whether it could be done."""
        if self.made and os.path.dirname(self.made) and os.path.dirname(self.made) not in names:
            return False
        for name in self.removed:
            names.pop(name, None)
        if self.made:
            names[self.made] = self.what
        return True


class Disk:
    """A directory, followed through a recording. Names are relative to it; its own existence is sure."""

    def __init__(self, root, marks):
        """As `root` is now, all of it sure. What is written to the file `marks` is kept as marks."""
        self.root, self.marks_path = os.path.realpath(root), os.path.realpath(marks)
        self.names, self.renamed, self.marks, self.at = {}, [], [], {}
        self.counts = {"writes": 0, "syncs": 0, "names": 0, "bytes": 0}
        for path, directories, files in os.walk(self.root):
            for name in directories:
                self.names[os.path.relpath(os.path.join(path, name), self.root)] = None
            for name in files:
                full = os.path.join(path, name)
                with open(full, "rb") as file:
                    self.names[os.path.relpath(full, self.root)] = File(file.read())
        self.live = dict(self.names)

    def copy(self):
        """The same directory, followed from the beginning."""
        new = copy.copy(self)
        new.names = {name: what and File(what.live) for name, what in self.names.items()}
        new.live, new.renamed, new.marks, new.at = dict(new.names), [], [], {}
        new.counts = dict.fromkeys(self.counts, 0)
        return new

    def name_of(self, path):
        """Relative to the directory; None if it is elsewhere."""
        path = os.path.normpath(os.path.join(self.root, os.fsdecode(path)))
        return os.path.relpath(path, self.root) if path.startswith(self.root + "/") else None

    def file_of(self, argument):
        """The descriptor's key and the name of its file: both None if it is elsewhere, or has no name any more."""
        found = FILE.match(argument)
        if not found:
            return None, None
        path = text(found[2])
        if not path.startswith(b"/"):
            return found[1], None
        if os.fsdecode(path) == self.marks_path:
            return found[1], self.marks_path
        return (found[1], None if found[3] else self.name_of(path) if path != self.root.encode() else ".")

    def steps(self, recorded):
        """What has to be done at which place of the recording, in order: what begins before what ends there."""
        steps = []
        for call in recorded:
            begun, ended, *_ = call
            steps.append((begun, 0, call))
            if ended is not None:
                steps.append((ended, 1, call))
        return sorted(steps, key=lambda step: step[:2])

    def step(self, at, end, call):
        begun, ended, process, name, arguments, result = call
        if ended is not None and result.startswith("-1 "):
            return
        if name in ("open", "openat") and end:
            self.opened(call)
        elif name == "lseek" and end:
            descriptor, file = self.file_of(arguments[0])
            if file and self.at.get((file, descriptor)) != "end":
                self.at[file, descriptor] = int(result.split()[0], 0)
        elif name in ("write", "pwrite64", "ftruncate") and not end:
            self.wrote(call)
        elif name in ("fsync", "fdatasync") and end:
            self.synced(begun, self.file_of(arguments[0])[1])
        elif name in ("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "link",
                      "linkat") and end:
            self.named(call)
        elif name == "fallocate" and not end:
            if self.file_of(arguments[0])[1] and arguments[1] != "FALLOC_FL_KEEP_SIZE":
                raise ValueError(f"it is not known what {name} {arguments[1:]} does")
        elif name in ("io_uring_setup", "io_setup"):
            raise ValueError(f"{name} was called: what is written by it is not recorded")
        elif name == "mmap":
            if "MAP_SHARED" in arguments[3] and "PROT_WRITE" in arguments[2] and self.file_of(arguments[4])[1]:
                raise ValueError(f"a file is written by way of memory: {call}")
        elif name in UNKNOWN and not end:
            paths = [self.file_of(each)[1] or (self.name_of(text(each)) if each.startswith('"') else None)
                     for each in arguments]
            if any(paths) or not arguments[0]:
                raise ValueError(f"it is not known what {name} does: {call}"[:300])

    def opened(self, call):
        begun, ended, _, name, arguments, result = call
        if name == "openat":
            arguments = arguments[1:]
        descriptor, file = self.file_of(result)
        if not file or file == self.marks_path or file == ".":
            return
        self.at[file, descriptor] = "end" if "O_APPEND" in arguments[1] else 0
        if "O_CREAT" in arguments[1] and file not in self.live:
            self.name(Name(begun, ended, [], file, File()))
        if "O_TRUNC" in arguments[1] and self.live[file].live:
            self.live[file].do(Act(begun, ended, 0, None))

    def wrote(self, call):
        begun, ended, _, name, arguments, _ = call
        descriptor, file = self.file_of(arguments[0])
        if not file:
            return
        if name == "ftruncate":
            act = Act(begun, ended, int(arguments[1]), None)
        else:
            data = text(arguments[1])
            if file == self.marks_path:
                self.marks.extend(data.decode().split("\n")[:-1])
                return
            if name == "pwrite64":
                act = Act(begun, ended, int(arguments[3]), data)
            else:
                at = self.at[file, descriptor]
                act = Act(begun, ended, len(self.live[file].live) if at == "end" else at, data)
                if at != "end":
                    self.at[file, descriptor] = at + len(data)
            self.counts["bytes"] += len(data)
        self.counts["writes"] += 1
        self.live[file].do(act)

    def synced(self, begun, name):
        if not name:
            return
        self.counts["syncs"] += 1
        what = self.live.get(name)
        directory = "" if name == "." else name
        concerned = [number for number, change in enumerate(self.renamed) if change.ended < begun
                     and (change.what is what if isinstance(what, File) else directory in change.directories)]
        for change in self.renamed[:concerned[-1] + 1] if concerned else []:
            change.journalled = True
        if isinstance(what, File):
            sure = [act for act in what.since if act.ended is not None and act.ended < begun]
            for act in sure:
                apply(what.sure, act)
            what.since = [act for act in what.since if act not in sure]
            return
        for number in concerned:
            self.renamed[number].synced = True
        self.renamed = [change for change in self.renamed if not (change.synced and change.change(self.names))]

    def named(self, call):
        begun, ended, _, name, arguments, _ = call
        if name.endswith("at"):
            arguments = arguments[1:]
        first = self.name_of(text(arguments[0]))
        if name == "renameat2":
            raise ValueError(f"it is not known what {name} does")
        if not first:
            return
        if name.startswith("rename"):
            second = self.name_of(text(arguments[-1]))
            self.name(Name(begun, ended, [first], second, self.live[first]))
        elif name.startswith("link"):
            self.name(Name(begun, ended, [], self.name_of(text(arguments[1 if name == "link" else 2])), self.live[first]))
        elif name.startswith("mkdir"):
            self.name(Name(begun, ended, [], first))
        else:
            self.name(Name(begun, ended, [first]))

    def name(self, change):
        self.counts["names"] += 1
        self.renamed.append(change)
        change.change(self.live)

    def differences(self):
        """Where what was recorded differs from what is in the directory: nowhere, or something was not recorded."""
        now = Disk(self.root, self.marks_path).live
        return [name for name in {*now, *self.live} if name not in now or name not in self.live or (
            isinstance(now[name], File) and now[name].live != self.live[name].live)]

    def unsure(self):
        return sum(len(what.since) for what in self.live.values() if isinstance(what, File)) + len(self.renamed)

    def after_a_cut(self, how, chance):
        """What the disk holds: content by name, None for a directory."""
        names = dict(self.names)
        for change in self.changes(how, chance):
            change.change(names)
        found = {}
        for name, what in sorted(names.items()):
            if os.path.dirname(name) in found or not os.path.dirname(name):
                found[name] = what if what is None else content(what, how, chance)
        return found

    def changes(self, how, chance):
        """Those names that were not synced and are there nevertheless, in order."""
        if how == "any names":
            return [change for change in self.renamed if change.synced or chance.random() < 0.5]
        journalled = sum(change.journalled for change in self.renamed)
        if how == "all":
            return self.renamed
        return self.renamed[:journalled if how == "nothing" else chance.randint(journalled, len(self.renamed))]


def content(file, how, chance):
    if how == "nothing" or not file.since:
        return bytes(file.sure)
    if how == "all":
        return bytes(file.live)
    sector = 4096 if how == "pages" else 512
    # Lengths are kept in order by the file system; data is not kept in order by anything.
    length = len(file.sure)
    lengths = [length]
    for act in file.since:
        lengths.append(length := act.length(length))
    length = chance.choice(lengths)
    # Of each sector, so many of the acts that concern it. Sometimes nearly all are there, sometimes nearly none.
    bias = chance.choice([0.1, 0.5, 0.9])
    held, sectors = bytearray(file.sure), {}
    for act in file.since:
        if act.data is None:
            if act.offset <= length:
                del held[act.offset:]
            continue
        for number in range(act.offset // sector, (act.offset + max(len(act.data), 1) - 1) // sector + 1):
            if number not in sectors:
                sectors[number] = "all" if chance.random() < bias else chance.choice(["none", "first"])
            if sectors[number] == "none":
                continue
            if sectors[number] == "first":
                sectors[number] = "none"
            low, high = max(act.offset, number * sector), min(act.offset + len(act.data), (number + 1) * sector)
            apply(held, Act(0, 0, low, act.data[low - act.offset:high - act.offset]))
    apply(held, Act(0, 0, length, None))
    return bytes(held)
