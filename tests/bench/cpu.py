"""What a process has used, from /proc."""
import os

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid):
    """utime and stime of all threads of a process, in seconds; resolution: one clock tick (10 ms as a rule)."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(pid):
    """Resident memory in bytes that no file backs: what sessions cost, without the program's own pages."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def children(pid):
    """Number of a process's children."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return len(listed.read().split())


def resident_of_children(pid):
    """As `resident`, of the children of a process (the backends of a PostgreSQL)."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return sum(resident(int(child)) for child in listed.read().split() if os.path.exists(f"/proc/{child}"))


def describe_machine():
    """Processor, cores, memory and kernel, in one line."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = os.sysconf("SC_PHYS_PAGES") * PAGE / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {os.uname().release}"
