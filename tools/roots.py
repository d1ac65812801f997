"""What tools/test-glibc and tools/test-arm64 share: roots of other systems, and the table of the clients."""

import collections
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOTS = ROOT / "target/roots"
COLUMNS = ["children right", "states equal", "own backends", "parent right", "parent's sessions"]
# Seconds: ten times what a slow mirror takes.
SETUP_LIMIT = 1200


def die(text):
    sys.exit(f"{Path(sys.argv[0]).name}: {text}")


def bounded(seconds, command, **options):
    """Runs a command; past the time it is ended with all that it started."""
    process = subprocess.Popen(command, start_new_session=True, text=True, errors="replace", **options)
    try:
        output, _ = process.communicate(timeout=seconds)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        print(f"ended after {seconds} s: {command[:4]}")
        return 124, output
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def mirror(security=False):
    """That of this machine's Debian packages."""
    name = r"debian-security/?" if security else r"debian/?"
    for file in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        if file.is_file():
            found = re.search(rf"https?://\S+/{name}(?=\s)", re.sub(r"(?m)^\s*#.*", "", file.read_text()))
            if found:
                return found[0]
    return "http://deb.debian.org/debian" + ("-security" if security else "")


def make_root(name, suite, packages, variant="apt", architectures=None, security=False):
    """A root in target/roots/NAME, made once for a list of packages. Variant `extract` unpacks them,
    and runs nothing of theirs: for another processor."""
    root, stamp = ROOTS / name, ROOTS / f"{name}.stamp"
    wanted = " ".join([suite, variant, *packages])
    if stamp.exists() and stamp.read_text() == wanted and root.is_dir():
        return root
    if not shutil.which("mmdebstrap"):
        die("mmdebstrap is missing: run make setup")
    print(f"making {root.relative_to(ROOT)}", flush=True)
    for old in (stamp, root):
        subprocess.run(["rm", "-rf", "--one-file-system", old], check=True)
    ROOTS.mkdir(parents=True, exist_ok=True)
    options = ["--mode=root", f"--variant={variant}", "--components=main", f"--include={','.join(packages)}"]
    options += [f"--architectures={architectures}"] if architectures else []
    # A mirror may have stopped on a day: then its lists are older than they say they may be.
    options += ['--aptopt=Acquire::Check-Valid-Until "false"', '--aptopt=Acquire::Languages "none"']
    options += ['--aptopt=APT::Install-Recommends "false"']
    options += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "doc", "locale")]
    signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    sources = [f"deb {signed} {mirror()} {suite} main"]
    sources += [f"deb {signed} {mirror(True)} {suite}-security main"] if security else []
    status, _ = bounded(SETUP_LIMIT, ["mmdebstrap", *options, suite, str(root), *sources])
    if status != 0:
        die(f"mmdebstrap {suite} failed")
    stamp.write_text(wanted)
    return root


def table(output):
    """Without and with, one under the other, the transports together."""
    rows = collections.defaultdict(lambda: [[0, 0] for _ in COLUMNS])
    for line in re.findall(r"(?m)^table: (.*)", output):
        client, _, library, *numbers = line.strip().split("\t")
        for total, pair in zip(rows[client, library], numbers):
            for place, number in enumerate(pair.split()):
                total[place] += int(number)
    print(f"{'':32}" + "".join(f"{name:>19}" for name in COLUMNS))
    for (client, library), totals in sorted(rows.items(), key=lambda row: (row[0][0], row[0][1] != "without")):
        cells = "".join(f"{f'{got} of {asked}':>19}" for got, asked in totals)
        print(f"{client:24}{library:8}{cells}")
