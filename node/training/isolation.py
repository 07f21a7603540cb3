"""How a worker shuts itself in before it reads anything. Linux only; no root needed.

Everything is done by the worker itself, first thing: the daemon runs other threads, so code between its fork and exec
(`preexec_fn`) could deadlock.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

NICENESS = 5  # training yields to the daemon that must answer its peers; a guess, not measured
ADDRESS_SPACE_BYTES_MAX = 64 * 2**30  # a small job's worker takes 0.8 GB: this ends a runaway, not a large model
FILES_MAX = 256

# <linux/sched.h> and <linux/prctl.h>
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38


def isolate(parent: int) -> str:
    """Limit this process and tie its life to `parent`; returns what holds, for people to read.

    Must run while the process has one thread: the kernel refuses new user namespaces to others. Ends the process when
    the parent has died already.
    """
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    lower_limit(resource.RLIMIT_NOFILE, FILES_MAX)
    lower_limit(resource.RLIMIT_AS, ADDRESS_SPACE_BYTES_MAX)
    libc = ctypes.CDLL(None, use_errno=True)
    network = leave_network(libc)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    end_with_parent(parent)  # after leave_network: a change of credentials clears the signal
    return f"resource limits, no new privileges, {network}"


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends. Orphans were seen without it."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died between the fork and the line above
        sys.exit("the process that started this one has gone")


def leave_network(libc: ctypes.CDLL) -> str:
    """Move to a network namespace with nothing in it. Containers often forbid that; training then goes on without."""
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0:
        return "no network"
    return f"network not shut off: {os.strerror(ctypes.get_errno())}"


def lower_limit(kind: int, value: int) -> None:
    """Set soft and hard limit to `value`, or leave them where they are lower already."""
    _, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))
