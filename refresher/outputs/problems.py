"""Messages about errors of the file system, with advice for the operator."""

import errno
import os

from refresher.config.output_kinds import record_path
from refresher.outputs import obstacles
from refresher.outputs.links import UntrustedLinkError
from refresher.outputs.permissions import GroupError

_NAME_ANOTHER = "an output is a regular file: name another path"
_ADVICE = {
    errno.ENOENT: "create {folder}, or mount the volume there",
    errno.ENOTDIR: "{folder} is not a directory: correct the path",
    errno.EISDIR: "an output is a file: add the file's name to the path",
    errno.EINVAL: _NAME_ANOTHER,
    errno.ENXIO: _NAME_ANOTHER,
    errno.ELOOP: "its symbolic links form a loop: correct them",
    errno.ENAMETOOLONG: "choose a shorter name: temporary files beside it have names 29 bytes longer",
    errno.EACCES: "let {user} read the file, and list and write {folder}",
    errno.EPERM: "check {folder} for a sticky bit or an immutable attribute",
    errno.EBUSY: "a file that is mounted by itself cannot be replaced: mount its directory instead",
    errno.EROFS: "mount the volume of {folder} writable",
    errno.ENOSPC: "free space or inodes in {folder}, or enlarge the volume",
    errno.EDQUOT: "free space in {folder}, or raise the quota of {user}",
    errno.EFBIG: "raise the limit on the size of files (ulimit -f, systemd's LimitFSIZE=)",
    errno.EMFILE: "raise the limit on open files (ulimit -n, systemd's LimitNOFILE=)",
    errno.ENOLCK: "the file system of {folder} has no locks (flock): choose another",
    errno.EOPNOTSUPP: "the file system of {folder} has no locks (flock): choose another",
    errno.EIO: "check the kernel's log for errors of the disk",
}
_GROUP_ADVICE = {
    errno.EINVAL: "its group has no number in this user namespace (/proc/self/gid_map): map it, or configure "
    "another `group`",
    errno.EPERM: "make {user} a member of the group, or remove `group` if the volume keeps no groups",
}


def explained(error: OSError, path: str) -> str:
    """Why the output at the configured `path` cannot be read or written, and what to do."""
    if isinstance(error, UntrustedLinkError):
        return str(error.strerror)
    target = os.path.realpath(path)
    code = errno.errorcode.get(error.errno or 0, "no error number")
    advice = _advice(error, target)
    link = f", which leads to {target}" if target != path else ""
    return f"{error.strerror} ({code}){link}" + (f"; {advice}" if advice else "")


def _advice(error: OSError, target: str) -> str:
    in_group = isinstance(error, GroupError)
    if error.errno == errno.EPERM and not in_group:
        remedy = obstacles.remedy(target, record_path(target))
        if remedy is not None:
            return remedy
    advice = (_GROUP_ADVICE if in_group else _ADVICE).get(error.errno or 0, "")
    return advice.format(folder=os.path.dirname(target), user=f"user {os.geteuid()}")
