"""What one of Linux, macOS and Windows lacks stands in one place, and is done without there."""

import ast
import os
import re
import signal
import socket
import sys
import threading
import types
from contextlib import suppress
from pathlib import Path

import pytest

from splat_uff.system import lock, portable
from splat_uff.system.errors import InputError
from splat_uff.system.files import inside_folder, replacing, replacing_folder, write_json
from splat_uff.system.lock import FolderLocked, folder_lock, require_unlocked
from splat_uff.system.machine import commit, describe_machine

ROOT = Path(__file__).parents[1]
GUARDED = ROOT / "splat_uff" / "system" / "portable.py"
FILES = sorted(
    path
    for folder in ("splat_uff", "tools", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if path != GUARDED
)
MODULES = {
    *("crypt", "curses", "fcntl", "grp", "msvcrt", "nis", "posix", "pty", "pwd", "readline"),
    *("resource", "spwd", "syslog", "termios", "tty", "winreg", "winsound", "_winapi"),
}
"""Modules of the standard library that one of the systems lacks."""
NAMES = {
    "os": re.compile(
        r"O_(?!RDONLY$|WRONLY$|RDWR$|CREAT$|EXCL$|TRUNC$|APPEND$)\w+|(f|l)?chown|(f|l)chmod|chmod"
        r"|chroot|fork(pty)?|exec\w+|spawn\w+|posix_\w+|(get|set)(e|res)?[ug]id|(get|set)groups"
        r"|getpgid|getpgrp|getppid|getsid|setsid|setpgid|kill|killpg|wait\w*|W[A-Z]{3,}\w*|nice"
        r"|sched_\w+|process_cpu_count|f?statvfs|link|symlink|mkfifo|mknod|openpty|pipe2|pread\w*"
        r"|pwrite\w*|readv|writev|sendfile|splice|memfd_create|sync|fdatasync|getloadavg|uname"
        r"|sysconf\w*|(f|l)?(get|set|list|remove)xattr|startfile|umask|rename|supports_dir_fd"
    ),
    "signal": re.compile(
        r"SIG(?!INT$|TERM$|_IGN$|_DFL$)[A-Z0-9_]+|alarm|[gs]etitimer|pause|pthread_\w+|sig(wait|pe)\w*"
    ),
    "time": re.compile(r"tzset|clock_[gs]ettime\w*|pthread_\w+"),
    "socket": re.compile(r"AF_(?!INET6?$)\w+|SO_REUSE\w+|SO_EXCL\w+|fromfd|socketpair"),
    "select": re.compile(r"poll|epoll|kqueue|kevent"),
}
"""Names of modules that one of the systems lacks, or that mean something else there."""
METHODS = {
    *("symlink_to", "hardlink_to", "chmod", "lchmod", "is_mount", "mkfifo"),
    *("st_blocks", "st_blksize", "st_flags", "st_birthtime"),
}
KEYWORDS = {"dir_fd", "src_dir_fd", "dst_dir_fd", "follow_symlinks", "preexec_fn", "pass_fds"}
KEYWORDS |= {"start_new_session", "creationflags", "startupinfo"}
PLACES = re.compile(r"/(proc|dev|sys|tmp|etc|var|usr|home|bin|opt|mnt)(/|$)|~/\.|[A-Z]:\\")
FORMATS = re.compile(r"%[-_^#]?[eklPsDFTRnhCGgu]\b|%-[a-zA-Z]")


def modules_named(tree):
    """Local name of each imported module, as `{"os": "os", "sig": "signal"}`."""
    return {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }


def texts_of(tree):
    """String constants that are no docstrings."""
    loose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in loose:
            yield node.lineno, node.value


def only_here(source):
    """Lines and names of what one of the systems lacks."""
    tree = ast.parse(source)
    modules = modules_named(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] in MODULES:
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.module in MODULES:
                yield node.lineno, node.module
            for alias in node.names:
                if node.module in NAMES and NAMES[node.module].fullmatch(alias.name):
                    yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute):
            owner = modules.get(node.value.id, "") if isinstance(node.value, ast.Name) else ""
            if owner in NAMES and NAMES[owner].fullmatch(node.attr):
                yield node.lineno, f"{owner}.{node.attr}"
            elif node.attr in METHODS:
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg in KEYWORDS:
                    yield node.lineno, f"{keyword.arg}="
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in {"get_context", "set_start_method"}:
                if [getattr(each, "value", "") for each in node.args] != ["spawn"]:
                    yield node.lineno, ast.unparse(node)
            elif called == "strftime":
                for argument in node.args[:1]:
                    if FORMATS.search(getattr(argument, "value", "") or ""):
                        yield node.lineno, f"strftime({argument.value!r})"
    for line, text in texts_of(tree):
        found = PLACES.search(text)
        if found and (found.start() == 0 or not text[found.start() - 1].isalnum()):
            yield line, repr(text[:60])
        if "\n" in text and re.search(r"^\s*import \w", text, re.MULTILINE):
            with suppress(SyntaxError):  # A script that another process runs.
                yield from ((line, name) for _, name in only_here(text))


def without_encoding(source):
    """Lines that open a text file, or read a program's output, in whatever encoding is set."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        function, keywords = node.func, {each.arg for each in node.keywords}
        owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
        name = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
        given = "encoding" in keywords or None in keywords
        if name == "read_text":
            given |= bool(node.args)
        elif name == "write_text":
            given |= len(node.args) > 1
        elif name == "open" and owner not in {"os", "Image", "archive", "webbrowser"}:
            values = [getattr(each, "value", "") for each in node.args[0 if owner else 1 :][:1]]
            values += [
                getattr(each.value, "value", "") for each in node.keywords if each.arg == "mode"
            ]
            given |= any("b" in str(value) for value in values)
        elif owner == "subprocess":
            given |= not {"text", "universal_newlines"} & keywords
        elif name in {"NamedTemporaryFile", "TemporaryFile"}:
            given |= not any(str(getattr(each, "value", ""))[:1] == "w" for each in node.args)
        else:
            continue
        if not given:
            yield node.lineno, ast.unparse(node)[:70]


@pytest.mark.parametrize("find", [only_here, without_encoding])
def test_no_file_but_one_uses_what_one_of_the_systems_lacks(find):
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in FILES
        for line, what in find(path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "def f():\n    from resource import getrusage",
        "import os as o\no.sched_getaffinity(0)",
        "from os import fork",
        "import signal\nsignal.signal(signal.SIGHUP, f)",
        "import signal\nsignal.alarm(3)",
        "import os\nos.open('a', os.O_DIRECTORY)",
        "open(path, 'rb', dir_fd=3)",
        "Path('/proc/self/status')",
        "folder = '/tmp'",
        "import os\nos.kill(3, 9)",
        "import time\ntime.strftime('%-d.%m.')",
        "path.symlink_to(other)",
        "path.stat().st_blocks",
        "from multiprocessing import get_context\nget_context('fork')",
        "import socket\ns.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)",
        "CHILD = '''\nimport resource\nresource.getrusage(0)\n'''",
    ],
)
def test_only_here_finds(source):
    assert list(only_here(source))


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.open('a', os.O_RDWR | os.O_CREAT)\nos.cpu_count()",
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)",
        "import time\ntime.strftime('%Y-%m-%d')",
        '"""The folder /tmp, in a docstring."""',
        "url = 'https://example.org/tmp/a'",
        "names.fork()",
    ],
)
def test_only_here_leaves_the_rest_alone(source):
    assert not list(only_here(source))


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("open('a')", 1),
        ("open('a', 'w')", 1),
        ("path.open('a')", 1),
        ("path.read_text()", 1),
        ("path.write_text('a')", 1),
        ("subprocess.run(words, text=True)", 1),
        ("open('a', 'rb')", 0),
        ("path.open('wb')", 0),
        ("path.open(mode='rb')", 0),
        ("open('a', encoding='utf-8')", 0),
        ("path.read_text('utf-8')", 0),
        ("path.write_text('a', 'utf-8')", 0),
        ("subprocess.run(words)", 0),
        ("os.open('a', 3)", 0),
    ],
)
def test_without_encoding_finds(source, count):
    assert len(list(without_encoding(source))) == count


@pytest.fixture
def windows(monkeypatch):
    """A Windows as far as our code asks: its name, its locks, and no `resource` and load."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(portable, "fcntl", None)
    monkeypatch.setattr(portable, "resource", None)
    monkeypatch.setattr(portable, "_CPU_INFO", Path("missing"))
    monkeypatch.delattr(os, "getloadavg", raising=False)
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.0)
    held, guard = {}, threading.Lock()

    def locking(descriptor, mode, count):
        """Lock bytes as msvcrt does: from the place where the file stands, for one descriptor."""
        assert (mode, count) == (2, 1)
        start = os.lseek(descriptor, 0, os.SEEK_CUR)
        assert start > 10**6, "nobody could read who holds the lock"
        with guard:
            owner = held.setdefault(os.fstat(descriptor).st_ino, descriptor)
            if owner != descriptor:
                raise PermissionError(13, "Permission denied")

    close, unlink = os.close, Path.unlink

    def closing(descriptor):
        with guard:
            for inode in [each for each, owner in held.items() if owner == descriptor]:
                del held[inode]
        close(descriptor)

    def unlinking(path, missing_ok=False):
        if path.name == lock.NAME and path.exists() and path.stat().st_ino in held:
            raise PermissionError(13, "it is open in another process")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "close", closing)
    monkeypatch.setattr(Path, "unlink", unlinking)
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=locking, LK_NBLCK=2))


def test_folder_lock_keeps_others_out_on_windows(windows, tmp_path):
    folder = tmp_path / "run"
    with folder_lock(folder):
        for ask in (lambda: folder_lock(folder).__enter__(), lambda: require_unlocked(folder)):
            with pytest.raises(FolderLocked, match=f"being written by process {os.getpid()};"):
                ask()
    assert list(folder.iterdir()) == []
    require_unlocked(folder)
    with folder_lock(folder):
        pass


def test_folder_lock_leaves_a_file_that_another_process_opened_on_windows(windows, tmp_path):
    with folder_lock(tmp_path):
        other = os.open(tmp_path / lock.NAME, lock.OPEN)
        path = tmp_path / lock.NAME
        inode = path.stat().st_ino
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            portable.close_and_remove(os.dup(other), path)
        assert path.stat().st_ino == inode
    os.close(other)


def refuse(*_, **__):
    raise PermissionError(13, "it is being used by another process")


def test_a_machine_describes_itself_on_windows(windows):
    described = describe_machine()
    assert described["cpu"]
    assert described["vectors"] == ""
    assert portable.peak_memory() is None
    assert portable.load_average() is None


def test_a_machine_describes_itself_on_macos(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(portable, "_CPU_INFO", Path("missing"))
    assert describe_machine()["cpu"]  # There is no sysctl of this name, or it says a name.
    monkeypatch.setattr(portable, "output_of", lambda *_: "Apple M9")
    assert describe_machine()["cpu"] == "Apple M9"
    peak = types.SimpleNamespace(ru_maxrss=3 * 10**9)
    fake = types.SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: peak)
    monkeypatch.setattr(portable, "resource", fake)
    assert portable.peak_memory() == 3.0  # Counted in bytes there, in kilobytes on Linux.
    monkeypatch.setattr(sys, "platform", "linux")
    assert portable.peak_memory() == 3072.0


def test_files_in_use_are_tried_again_on_windows_alone(monkeypatch, tmp_path):
    path, tries = tmp_path / "a.json", []
    replace = Path.replace

    def busy(self, target):
        tries.append(target)
        if len(tries) < 3:
            raise PermissionError(13, "it is being used by another process")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", busy)
    with pytest.raises(PermissionError):
        write_json(path, 1)
    assert list(tmp_path.iterdir()) == []
    tries.clear()
    monkeypatch.setattr(sys, "platform", "win32")
    write_json(path, 2)
    assert path.read_text(encoding="utf-8") == "2\n"
    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(portable, "BUSY_SECONDS", 0.05)
    with pytest.raises(PermissionError):
        write_json(path, 3)
    assert [each.read_text(encoding="utf-8") for each in tmp_path.iterdir()] == ["2\n"]


def test_folders_in_use_are_tried_again_on_windows(monkeypatch, tmp_path):
    tries, rename = [], Path.rename

    def busy(self, target):
        tries.append(target)
        if len(tries) < 3:
            raise PermissionError(13, "it is being used by another process")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", busy)
    monkeypatch.setattr(sys, "platform", "win32")
    for text in ("old", "new"):
        with replacing_folder(tmp_path / "out") as place:
            (place / "a").write_text(text, encoding="utf-8")
        tries.clear()
    assert (tmp_path / "out" / "a").read_text(encoding="utf-8") == "new"


def test_a_file_that_is_read_can_be_read_to_its_end_while_it_is_replaced(tmp_path):
    if os.name == "nt":
        pytest.skip("Windows waits for the reader instead")
    path = tmp_path / "a"
    path.write_text("old", encoding="utf-8")
    with path.open(encoding="utf-8") as file, replacing(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert file.read() == "old"
    assert path.read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("name", ["con", "NUL", "aux.ply", "Com1", "lpt9.tar.gz", "prn .a"])
def test_names_of_devices_are_no_files_of_ours(name, tmp_path):
    assert portable.is_device(name)
    with pytest.raises(InputError, match="is a device on Windows"):
        inside_folder(tmp_path, name)


@pytest.mark.parametrize("name", ["cone", "null", "auxiliary.ply", "com", "lpt", "my con"])
def test_other_names_may_be_used(name, tmp_path):
    assert not portable.is_device(name)
    assert inside_folder(tmp_path, name) == tmp_path / name


def test_a_port_in_use_is_not_taken_where_reuse_means_sharing(monkeypatch):
    taken = []

    class Socket(socket.socket):
        def setsockopt(self, *option):
            taken.append(option)

    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    with Socket() as tried:
        portable.require_free(tried)
        monkeypatch.delattr(socket, "SO_EXCLUSIVEADDRUSE")
        portable.require_free(tried)
    assert taken == [(socket.SOL_SOCKET, -5, 1), (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)]


def test_commit_is_empty_where_there_is_no_git(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit() == ""


def test_link_or_copy_copies_where_there_are_no_links(monkeypatch, tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    portable.link_or_copy(tmp_path / "a", tmp_path / "linked")
    monkeypatch.delattr(os, "link")
    portable.link_or_copy(tmp_path / "a", tmp_path / "copied")
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"1"}
    assert len(list(tmp_path.iterdir())) == 3


def test_print_anything_escapes_what_the_console_lacks(monkeypatch, tmp_path):
    path = tmp_path / "out"
    with path.open("w", encoding="cp1252", errors="strict") as console:
        monkeypatch.setattr(sys, "stdout", console)
        portable.print_anything()
        sys.stdout.write("0.9 ± 0.1 日\n")
    assert path.read_text(encoding="cp1252") == "0.9 ± 0.1 \\u65e5\n"


def test_signals_that_stop_a_command_are_known_everywhere():
    text = (ROOT / "splat_uff" / "cli.py").read_text(encoding="utf-8")
    used = set(re.findall(r"signal\.(SIG[A-Z]+)", text))
    assert used == {"SIGINT", "SIGTERM"}
    assert all(hasattr(signal, name) for name in used)
