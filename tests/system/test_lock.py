"""One process at a time writes into a folder, and no lock outlives its process."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from splat_uff.cli import main
from splat_uff.system import lock, portable
from splat_uff.system.errors import InputError
from splat_uff.system.lock import folder_lock, require_unlocked

SMALL = ("--gaussians.steps", "150", "--features.steps", "40", "--features.pixels", "256")


@contextmanager
def another_process(folder):
    """A process that holds the lock of a folder until it is ended."""
    code = (
        "import sys; from pathlib import Path; from splat_uff.system.lock import folder_lock\n"
        "with folder_lock(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_folder_lock_keeps_another_process_out_and_says_which_holds_it(tmp_path):
    folder = tmp_path / "runs" / "toy"
    with another_process(folder) as process:
        for ask in (lambda: folder_lock(folder).__enter__(), lambda: require_unlocked(folder)):
            with pytest.raises(InputError, match=f"being written by process {process.pid};") as e:
                ask()
            assert str(folder) in str(e.value)
            assert "\n" not in str(e.value)
        process.communicate("")
    assert list(folder.iterdir()) == []
    with folder_lock(folder):
        pass


def test_folder_lock_ends_with_a_process_that_is_killed(tmp_path):
    with another_process(tmp_path) as process:
        process.kill()
        process.wait()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    require_unlocked(tmp_path)
    with folder_lock(tmp_path):
        assert (tmp_path / ".lock").read_text().split()[0] == str(os.getpid())
    assert list(tmp_path.iterdir()) == []


def test_folder_lock_is_held_by_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.0)
    inside, most, taken = [], [], []

    def fight():
        for _ in range(150):
            with suppress(InputError), folder_lock(tmp_path):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0)
                inside.pop()
                taken.append(1)

    threads = [threading.Thread(target=fight) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(taken) > 10
    assert list(tmp_path.iterdir()) == []


def test_require_unlocked_writes_nothing(tmp_path):
    require_unlocked(tmp_path / "absent")
    require_unlocked(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not portable.NO_LINKS, reason="this system cannot refuse links")
def test_folder_lock_writes_through_no_link(tmp_path):
    kept = tmp_path / "kept.txt"
    kept.write_text("mine")
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / ".lock").symlink_to(kept)
    with pytest.raises(OSError, match="symbolic links"):
        folder_lock(tmp_path / "toy").__enter__()
    assert kept.read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"\x1b[2J\nx", b"12 a\nb", b"7" * 10**5, b"\xff\xfe 1"])
def test_folder_lock_is_told_in_one_line_whatever_its_file_says(tmp_path, content, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.0)
    with another_process(tmp_path):
        (tmp_path / ".lock").write_bytes(content)
        with pytest.raises(InputError, match="is being written by") as caught:
            require_unlocked(tmp_path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_folder_lock_says_on_which_machine_the_process_is(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE_SECONDS", 0.0)
    with another_process(tmp_path):
        (tmp_path / ".lock").write_text("12 node-7.cluster\n")
        with pytest.raises(InputError, match=r"by process 12 on node-7\.cluster;"):
            require_unlocked(tmp_path)


def test_folder_lock_says_so_where_the_file_system_has_no_locks(tmp_path, monkeypatch, capsys):
    def refuse(_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "try_to_lock", refuse)
    require_unlocked(tmp_path)
    with folder_lock(tmp_path):
        pass
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"{tmp_path} cannot be locked (No locks available)")


def training(output, *flags):
    """A training in a process of its own."""
    command = [sys.executable, "-m", "splat_uff", "train", "--scene", "toy", *SMALL]
    command += ["--output", str(output), *flags]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def straight(toy, tmp_path_factory):
    """What a training makes that nobody disturbs."""
    output = tmp_path_factory.mktemp("straight") / "run"
    main(["train", "--scene", "toy", "--output", str(output), *SMALL])
    return (output / "features.npz").read_bytes()


def error_line(said):
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert "Traceback" not in said
    return line


@pytest.mark.slow
def test_train_is_refused_while_another_process_trains_into_the_folder(straight, tmp_path, capsys):
    output = tmp_path / "run"
    with training(output) as first:
        while not (output / "log.jsonl").exists():
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # So that it does not come to its end meanwhile.
        for flags in ((), ("--resume",), ("--overwrite",), ("--seed", "3", "--overwrite")):
            with pytest.raises(SystemExit) as stopped:
                main(["train", "--scene", "toy", "--output", str(output), *SMALL, *flags])
            assert stopped.value.code == 2
            line = error_line(capsys.readouterr().err)
            assert f"{output} is being written by process {first.pid};" in line
        first.send_signal(signal.SIGCONT)
        said = first.communicate()[1]
    assert first.returncode == 0, said
    assert (output / "features.npz").read_bytes() == straight
    assert not list(output.glob(".*"))


@pytest.mark.slow
def test_train_started_twice_at_once_trains_once(straight, tmp_path):
    output = tmp_path / "run"
    with training(output) as first, training(output) as second:
        said = {process: process.communicate()[1] for process in (first, second)}
    assert sorted(process.returncode for process in said) == [0, 2]
    loser = first if first.returncode else second
    assert str(output) in error_line(said[loser])
    assert (output / "features.npz").read_bytes() == straight
    assert not list(output.glob(".*"))


@pytest.mark.slow
def test_paper_is_refused_while_another_process_trains_the_run(toy, tmp_path, capsys):
    with another_process(tmp_path / "run") as process, pytest.raises(SystemExit) as stopped:
        main(["paper", "--scene", "toy", "--run", str(tmp_path / "run")])
    assert stopped.value.code == 2
    assert f"process {process.pid};" in error_line(capsys.readouterr().err)
    assert not (tmp_path / "run" / "config.toml").exists()
