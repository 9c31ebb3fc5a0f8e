"""Becomes another program that does not outlive the run: `launch.py PARENT SIGNAL USER COMMAND...`.

Run by path with `python -I -S`, so only the standard library is at hand. PARENT is the process id of the
run: when that process dies, however it dies, the kernel sends SIGNAL to the program. USER is a user id, or
`-` for none; with one, the program enters a user namespace in which it has that id: PostgreSQL refuses to
run as root.
"""

import ctypes
import os
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
NAMESPACE_FORBIDDEN_STATUS = 97
CANNOT_RUN_STATUS = 126


def die_with_parent(parent: int, signal_number: int) -> None:
    """Ask the kernel for `signal_number` at the parent's death, which may already have happened."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        raise SystemExit(128 + signal_number)


def enter_user_namespace(user: int) -> None:
    """Enter a user namespace in which this process is `user`; files of the old user stay its own."""
    outer_user, outer_group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER) failed")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {outer_user} 1")
    Path("/proc/self/gid_map").write_text(f"{user} {outer_group} 1")


def main(arguments: list[str]) -> None:
    """Set up and become the command."""
    parent, signal_number, user, *command = arguments
    if user != "-":
        try:
            enter_user_namespace(int(user))
        except OSError as error:
            sys.stderr.write(f"user namespaces are forbidden here: {error}\n")
            raise SystemExit(NAMESPACE_FORBIDDEN_STATUS) from None
    die_with_parent(int(parent), int(signal_number))
    try:
        os.execvp(command[0], command)  # noqa: S606 (becoming the command is the purpose)
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error.strerror}\n")
        raise SystemExit(CANNOT_RUN_STATUS) from None


if __name__ == "__main__":
    main(sys.argv[1:])
