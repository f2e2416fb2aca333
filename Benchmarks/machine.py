"""What a measurement was made on."""

import ctypes
import datetime
import os
import platform
import subprocess


def _output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _processor():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def memory_bytes():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def adopt_orphans():
    """Makes descendants whose parents end children of this process: so mpirun leaves ranks that an agent started
    (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def others_seconds():
    """Seconds that processors worked for others than this process and the children it waited for, or were kept from the
    machine, since it started (/proc/stat, proc(5)). None of its own programs may run meanwhile."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    with open("/proc/stat") as file:
        user, nice, system, _, _, interrupts, soft_interrupts, stolen = map(int, file.readline().split()[1:9])
    busy = (user + nice + system + interrupts + soft_interrupts + stolen) / os.sysconf("SC_CLK_TCK")
    return busy - sum(os.times()[:4])


def facts(programs):
    """Date, machine and commit. `load` is the machine's load average before the first run: the cores should be idle."""
    modified = bool(_output("git", "status", "--porcelain", "--untracked-files=no"))
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory_bytes(),
        "system": " ".join([platform.system(), platform.release()]),
        "commit": (_output("git", "rev-parse", "--short=12", "HEAD") or "unknown") + ("+changes" if modified else ""),
        "mpi": (_output("mpirun", "--version").splitlines() or ["unknown"])[0],
        "python": platform.python_version(),
        "programs": programs,
        "load": os.getloadavg()[0],
    }
