"""System calls of a run and the errors that their man pages name; for `--sweep` and for random injection.

The list of calls is what `strace -c -f` counts in runs without a fault (`python -m tests.chaos --calls` prints it anew
and names what is missing here). Errors that only a caller's mistake brings (EFAULT, EBADF, EINVAL of a bad flag) are
left out: injecting them tests nothing that can happen. So are EPIPE and ECONNRESET of messages between processes, which
mean that the other one is gone.
Source: section 2 of the Linux man-pages, version 6.9; for netlink sockets netlink(7).
"""

from __future__ import annotations

from typing import Final

#: ENOSYS stands where seccomp filters of containers are known to forbid a call (docker's default profile: EPERM).
ERRNOS: Final = {
    "accept4": "EAGAIN ECONNABORTED EINTR EMFILE ENFILE ENOBUFS ENOMEM EPROTO EPERM ENETDOWN EHOSTUNREACH ENETUNREACH",
    "bind": "EACCES EADDRINUSE EADDRNOTAVAIL ENOMEM",
    "clone": "EAGAIN ENOMEM EPERM",
    "clone3": "EAGAIN ENOMEM EPERM ENOSYS",
    "close": "EIO EINTR ENOSPC EDQUOT",
    "connect": "EACCES EADDRINUSE EADDRNOTAVAIL EAGAIN ECONNREFUSED EINTR ENETUNREACH ETIMEDOUT EHOSTUNREACH EPERM",
    "epoll_create1": "EMFILE ENFILE ENOMEM",
    "epoll_ctl": "ENOMEM ENOSPC",
    "epoll_pwait": "EINTR",
    "epoll_wait": "EINTR",
    "eventfd2": "EMFILE ENFILE ENODEV ENOMEM",
    "fcntl": "EAGAIN EMFILE EPERM",
    "fstat": "ENOMEM",
    "ftruncate": "EINTR EIO EPERM EFBIG",
    "getdents64": "ENOENT EIO",
    "getpeername": "ENOBUFS ENOTCONN",
    "getsockname": "ENOBUFS",
    "getsockopt": "ENOPROTOOPT ENOMEM",
    "io_uring_enter": "EAGAIN EBUSY EINTR ENOMEM",
    "io_uring_register": "ENOMEM EBUSY",
    "io_uring_setup": "EMFILE ENFILE ENOMEM EPERM ENOSYS",
    "ioctl": "ENOTTY EPERM ENODEV",
    "kill": "EPERM ESRCH",
    "listen": "EADDRINUSE",
    "lseek": "ESPIPE",
    "memfd_create": "EMFILE ENFILE ENOMEM EPERM",
    "mkdir": "EACCES EDQUOT ENAMETOOLONG ENOENT ENOSPC EPERM EROFS",
    "mmap": "EAGAIN ENOMEM ENFILE",
    "newfstatat": "EACCES ENOENT ENOMEM",
    "openat": "EACCES EINTR EIO EMFILE ENFILE ENOENT ENOMEM ENOSPC EROFS",
    "pipe2": "EMFILE ENFILE",
    "poll": "EINTR ENOMEM",
    "ppoll": "EINTR ENOMEM",
    "prctl": "EPERM EINVAL",
    "pread64": "EINTR EIO",
    "read": "EINTR EIO",
    "readlink": "EACCES ENOENT EIO",
    "recvfrom": "EAGAIN EINTR ECONNRESET ENOMEM ENOBUFS",
    "recvmsg": "EAGAIN EINTR ENOMEM EMFILE",
    "rename": "EACCES EDQUOT ENOSPC EROFS EIO",
    "sched_getaffinity": "EPERM",
    "sendmsg": "EAGAIN EINTR ENOBUFS ENOMEM ETOOMANYREFS",
    "sendto": "EAGAIN EINTR EPIPE ECONNRESET ENOBUFS ENOMEM EPERM",
    "setns": "EPERM ENOMEM",
    "setsockopt": "ENOMEM ENOPROTOOPT EPERM",
    "shutdown": "ENOTCONN ENOBUFS",
    "socket": "EACCES EAFNOSUPPORT EMFILE ENFILE ENOBUFS ENOMEM EPERM",
    "socketpair": "EMFILE ENFILE ENOMEM",
    "statx": "EACCES ENOENT ENOMEM",
    "timerfd_create": "EMFILE ENFILE ENODEV ENOMEM",
    "timerfd_settime": "ECANCELED ENOMEM",
    "unshare": "EPERM ENOMEM ENOSPC EUSERS",
    "wait4": "EINTR ECHILD",
    "write": "EAGAIN EDQUOT EFBIG EINTR EIO ENOSPC EPIPE",
}
#: Calls that fail at home at the start only: by then the interpreter has loaded its own modules, which loadgen cannot
#: guard. The others are injected into a process that runs already.
FROM_THE_START: Final = (
    *("clone", "epoll_create1", "eventfd2", "io_uring_setup", "listen", "memfd_create", "mkdir", "pipe2"),
    *("ftruncate", "io_uring_register", "readlink", "sched_getaffinity", "statx"),
    *("rename", "setns", "socket", "socketpair", "timerfd_create", "unshare", "sendmsg"),
)
#: Calls that a process makes once it runs. Not mmap() where threads are begun: Thread.start() of CPython 3.11 waits for
#: ever for a thread that had no memory to begin with.
LIVE: Final = {
    "orchestrator": (
        *("close", "epoll_pwait", "fstat", "getdents64", "lseek", "memfd_create", "newfstatat", "openat"),
        *(
            "pread64",
            "read",
            "recvfrom",
            "recvmsg",
            "rename",
            "sendmsg",
            "sendto",
            "socket",
            "socketpair",
            "write",
            "epoll_ctl",
        ),
        *("accept4", "getsockname", "ioctl", "poll", "clone3", "wait4", "fcntl", "eventfd2"),
    ),
    "sampler": ("bind", "close", "getsockname", "poll", "recvfrom", "recvmsg", "sendto", "sendmsg", "socket"),
    "zygote": (
        *("clone", "close", "memfd_create", "poll", "read", "recvmsg", "sendmsg", "wait4", "prctl", "write", "openat"),
        *("newfstatat", "fstat", "mmap", "setns", "kill"),
    ),
    "worker": (
        *("bind", "close", "connect", "epoll_ctl", "epoll_wait", "epoll_pwait", "getsockname", "getsockopt", "mmap"),
        *("io_uring_enter", "recvfrom", "sendto", "setsockopt", "socket", "timerfd_settime", "write", "sendmsg"),
        *("read", "shutdown", "memfd_create", "recvmsg", "fcntl", "socketpair", "getpeername", "ppoll"),
    ),
    "sink": (
        *("accept4", "close", "epoll_ctl", "epoll_wait", "epoll_pwait", "recvfrom", "sendto", "setsockopt", "mmap"),
        *("getsockname", "getsockopt", "shutdown", "sendmsg", "memfd_create", "recvmsg", "read", "write", "poll"),
        *("timerfd_settime", "getpeername"),
    ),
}

#: Calls that do not fail, whose failure no program can do anything about, or that the interpreter makes by itself;
#: prlimit64 fails only to raise a limit, and strace(1) cannot tell that from a look at it.
HARMLESS: Final = (
    *("access", "arch_prctl", "brk", "clock_gettime", "clock_nanosleep", "close_range", "execve", "exit", "exit_group"),
    *("futex", "getcwd", "getegid", "geteuid", "getgid", "getgroups", "getpid", "getppid", "getrusage", "gettid"),
    *("getuid", "mbind", "mprotect", "mremap", "munmap", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rseq"),
    *("sched_yield", "set_robust_list", "set_tid_address", "sigaltstack", "sysinfo", "times", "umask", "uname"),
    *(
        "get_mempolicy",
        "dup2",
        "setpgid",
        "getrandom",
        "madvise",
        "restart_syscall",
        "sched_getparam",
        "setsid",
        "vfork",
    ),
)
