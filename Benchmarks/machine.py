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


def forget_settings():
    """Programs of ours take options from the environment; measured is what the command line says."""
    for name in [name for name in os.environ if name.startswith("MOE_")]:
        del os.environ[name]


def others_seconds():
    """Seconds that this process's processors worked for others than this process and the children it waited for, or were kept from the
    machine, since it started (/proc/stat, proc(5)). None of its own programs may run meanwhile."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    own = {f"cpu{processor}" for processor in os.sched_getaffinity(0)}
    busy = 0
    with open("/proc/stat") as file:
        for name, *ticks in map(str.split, file):
            if name in own:
                user, nice, system, _, _, interrupts, soft_interrupts, stolen = map(int, ticks[:8])
                busy += user + nice + system + interrupts + soft_interrupts + stolen
    return busy / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


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
