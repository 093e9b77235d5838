"""Crews train the tasks of a batch; this one does so on this machine, without Ray."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Protocol

from splat_uff.batch.child import Children, train_in_process
from splat_uff.batch.task import Task
from splat_uff.system.errors import InputError, on_one_line
from splat_uff.system.portable import has_gpu, memory_of_machine, usable_cores

MEMORY_GB = 4.0
"""Memory that a capture is given by default, in gigabytes."""


@dataclass(frozen=True)
class Ended:
    """A task that came to an end."""

    task: Task
    failure: str
    """Reason for which it failed, in one line; empty if it did not."""


class Crew(Protocol):
    """Whoever trains the tasks of a batch."""

    @property
    def busy(self) -> bool:
        """Whether tasks are left."""
        ...

    def poll(self, seconds: float) -> list[Ended]:
        """Wait until a task ends, or for some seconds; returns the tasks that ended."""
        ...

    def stop(self) -> None:
        """Stop the tasks that are left, which the same batch goes on with later."""
        ...


@dataclass(frozen=True)
class Needs:
    """What each capture needs of a machine; None lets the crew decide."""

    cores: int | None = None
    memory_gb: float | None = None
    gpus: float | None = None

    def of_task(self, task: Task, cores: int, memory_gb: float) -> Task:
        """The task with its cores, memory and device."""
        device = "auto" if self.gpus is None else "cuda" if self.gpus else "cpu"
        # Half for photos, masks and blend weights; the rest for everything else.
        budget = min(task.memory_gb, memory_gb / 2)
        return replace(task, cores=cores, memory_gb=budget, device=device)


class LocalCrew:
    """Crew that trains on this machine, as many captures at a time as it has room for."""

    def __init__(self, tasks: Sequence[Task], needs: Needs) -> None:
        """Start on the tasks, in their order.

        Raises:
            InputError: If the machine has less than a capture needs.
        """
        cores, memory_gb = usable_cores(), memory_of_machine()
        each = cores_each(needs, cores, cores, len(tasks))
        wanted = min(MEMORY_GB, memory_gb) if needs.memory_gb is None else needs.memory_gb
        if each > cores or wanted > memory_gb:
            raise InputError(
                f"a capture is to have {each} cores and {wanted:g} GB; this machine has {cores} "
                f"and {memory_gb:.1f}."
            )
        at_once = min(cores // each, int(memory_gb // wanted))
        if needs.gpus or (needs.gpus is None and has_gpu()):
            at_once = 1 if not needs.gpus else max(1, int(1 / needs.gpus))
        self._children = Children()
        self._pool = ThreadPoolExecutor(max_workers=max(1, at_once))
        self._tasks: dict[Future[str], Task] = {}
        for task in tasks:
            given = needs.of_task(task, each, wanted)
            self._tasks[self._pool.submit(train_in_process, given, self._children)] = given

    @property
    def busy(self) -> bool:
        """Whether tasks are left."""
        return bool(self._tasks)

    def poll(self, seconds: float) -> list[Ended]:
        """Wait until a task ends, or for some seconds; returns the tasks that ended."""
        done, _ = wait(self._tasks, timeout=seconds, return_when=FIRST_COMPLETED)
        return [Ended(self._tasks.pop(future), _result(future)) for future in done]

    def stop(self) -> None:
        """Stop the tasks that are left."""
        self._children.stop()
        self._pool.shutdown(cancel_futures=True)
        self._tasks.clear()


def cores_each(needs: Needs, cores: int, largest: int, count: int) -> int:
    """Cores for each of some captures: as many as there are for each, but at least one.

    Not everything runs on several cores, so that one core for each of several captures should train
    more of them in an hour than several cores for one after the other; `benchmarks/batch.py`
    measures it.

    Args:
        needs: Needs of a capture; its cores, if given, are taken.
        cores: Cores of all machines.
        largest: Cores of the largest machine.
        count: Number of captures.
    """
    return needs.cores or max(1, min(largest, cores // max(1, count)))


def _result(future: Future[str]) -> str:
    try:
        return future.result()
    except OSError as error:  # For example, no process can be started.
        return on_one_line(f"its process cannot be started ({error})")
