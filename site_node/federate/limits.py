"""What a worker's process may not do: use the network, and more memory or time than it was given.

The network is closed by a filter of system calls (seccomp(2)), which needs no privilege: no socket can be made, by
Python or by any library. Where the kernel or the processor does not know the filter, the limit does not hold, and
whoever asks is told so.
"""

import ctypes
import os
import platform
import resource
import signal
import socket
import struct

from shared.frozen import Frozen

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 1, 22, 38, 2
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # AUDIT_ARCH_*, and the number of socket(2)
_IO_URING_SETUP = 425  # it makes sockets, too
_X32 = 0x40000000  # the first number of x86-64's other table of system calls
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF
_NUMBER, _ARCHITECTURE = 0, 4  # where they stand in `struct seccomp_data`
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ERRNO with EPERM


class Limits(Frozen):
    """What a task may use."""

    memory: int  # bytes of data, the worker's own (some 300 MB) among them
    seconds: int  # of CPU, and of time


def close_network() -> bool:
    """Forbid this process and its children every socket; whether that holds now."""
    machine = _MACHINES.get(platform.machine())
    if machine is not None:
        libc = ctypes.CDLL(None, use_errno=True)
        program = _program(*machine)
        code = ctypes.create_string_buffer(program, len(program))
        described = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, described, 0, 0)
    try:
        socket.socket().close()
    except PermissionError:
        return True
    return False


def end_with_parent() -> None:
    """Let the kernel kill this process when the thread that made it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() == 1:  # it ended before
        os.kill(os.getpid(), signal.SIGKILL)


def hold(limits: Limits) -> None:
    """Hold this process to its limits: beyond the memory an allocation fails, beyond the time it is killed."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # what a core dump holds is patients'
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))
    used = int(time_used())
    resource.setrlimit(resource.RLIMIT_CPU, (used + limits.seconds, used + limits.seconds + 1))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limits.seconds)


def time_used() -> float:
    """Seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _program(architecture: int, socket_call: int) -> bytes:
    """The filter, as `struct sock_filter`s: refuse a socket, and every table of calls that is not known here."""
    checks = [(_IF_EQUAL, socket_call), (_IF_EQUAL, _IO_URING_SETUP), (_IF_AT_LEAST, _X32)]
    steps = [(_LOAD, 0, 0, _ARCHITECTURE), (_IF_EQUAL, 0, len(checks) + 2, architecture), (_LOAD, 0, 0, _NUMBER)]
    steps += [(code, len(checks) - place, 0, value) for place, (code, value) in enumerate(checks)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
