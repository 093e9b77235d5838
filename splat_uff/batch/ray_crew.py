"""A crew on a Ray cluster: one that is there, or a local one that ends with the batch.

Ray says where a task runs and that its machine was lost; the task itself is a process of its own,
which ends with Ray's. A task whose machine was lost is handed out again and goes on from its last
checkpoint.
"""

import logging
import os
import secrets
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from splat_uff.batch.child import train_in_process
from splat_uff.batch.crew import MEMORY_GB, Ended, Needs, cores_each
from splat_uff.batch.task import Task
from splat_uff.system.errors import InputError, argument, on_one_line, reason_of
from splat_uff.system.progress import notice

GIGABYTE = 10**9
OBJECTS = 80 * 2**20
"""Bytes of memory for Ray's objects in a local cluster, where there are hardly any."""
MOST_LOSSES = 5
"""Times that one task may lose its machine; one that takes down every machine must end."""
LOCAL = "local"


def has_ray() -> bool:
    """Whether Ray is installed; it is not loaded."""
    from importlib.util import find_spec

    return find_spec("ray") is not None


def connect(address: str) -> None:
    """Join a Ray cluster, or start a local one.

    A local cluster listens on 127.0.0.1 only, asks for a random token, has no dashboard, and sends
    nothing to anybody.

    Args:
        address: `HOST:PORT`, `auto` for the cluster of this machine, or `local` to start one.

    Raises:
        InputError: If Ray is missing, or the cluster cannot be reached.
    """
    if not has_ray():
        raise InputError(
            f"{argument('address')} needs Ray, which is not installed; "
            'pip install "splat-uff[cluster]".'
        )
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address == LOCAL:
        # Ray takes 127.0.0.1 for itself only where it knows that there are no other machines.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        os.environ.setdefault("RAY_worker_niceness", "0")  # As fast as a training by itself.
        if "RAY_AUTH_MODE" not in os.environ:  # Otherwise it keeps a token in the home folder.
            os.environ["RAY_AUTH_MODE"] = "token"
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _init(address)
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own would end us without a word.


def _init(address: str) -> None:
    import ray  # pyright: ignore[reportMissingImports]

    local: dict[str, Any] = {
        "include_dashboard": False,
        "object_store_memory": OBJECTS,
        "_node_ip_address": "127.0.0.1",
    }
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.CRITICAL,  # What fails is said in one line of ours.
            **(local if address == LOCAL else {}),
        )
    except Exception as error:  # Each way in which it may fail has a class of its own.
        ray.shutdown()
        if address == LOCAL:
            raise InputError(f"Ray does not start here ({reason_of(error)}).") from None
        raise InputError(
            f"no Ray cluster can be reached at {address} ({reason_of(error)}); start one by ray "
            f"start --head, or leave {argument('address')} out."
        ) from None


class RayCrew:
    """Crew whose tasks run wherever a Ray cluster has room for them."""

    def __init__(self, tasks: Sequence[Task], needs: Needs, *, local: bool) -> None:
        """Hand out the tasks on the cluster that `connect` joined.

        Raises:
            InputError: If a local cluster has less than a capture needs.
        """
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]

        self._ray: Any = ray
        self._options, given = _room(needs, len(tasks), ray, local=local)
        self._remote = ray.remote(train_in_process)
        self._losses: dict[str, int] = {}
        self._tasks: dict[Any, Task] = {}
        for task in tasks:
            self._submit(given.of_task(task, self._options["num_cpus"], self._memory_gb))

    @property
    def _memory_gb(self) -> float:
        return self._options["memory"] / GIGABYTE

    @property
    def busy(self) -> bool:
        """Whether tasks are left."""
        return bool(self._tasks)

    def poll(self, seconds: float) -> list[Ended]:
        """Wait until a task ends, or for some seconds; returns the tasks that ended."""
        done, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=seconds)
        ended = (self._collect(reference) for reference in done)
        return [each for each in ended if each is not None]

    def stop(self) -> None:
        """Stop the tasks that are left, and leave the cluster; a local one ends."""
        self._tasks.clear()
        self._ray.shutdown()

    def _submit(self, task: Task) -> None:
        self._tasks[self._remote.options(**self._options).remote(task)] = task

    def _collect(self, reference: Any) -> Ended | None:
        """Take the result of a task; if its machine was lost, hand it out again."""
        task = self._tasks.pop(reference)
        try:
            return Ended(task, self._ray.get(reference))
        except self._ray.exceptions.RayTaskError as error:
            return Ended(task, on_one_line(f"its process cannot be started ({error.cause})"))
        except self._ray.exceptions.RayError as error:
            losses = self._losses[task.name] = self._losses.get(task.name, 0) + 1
            why = type(error).__name__
            if losses > MOST_LOSSES:
                return Ended(task, f"its machine or worker was lost {losses} times ({why})")
            notice(f"{task.name}: its machine or worker was lost ({why}); it goes on elsewhere.")
            self._submit(task)
            return None


def _room(needs: Needs, count: int, ray: Any, *, local: bool) -> tuple[dict[str, Any], Needs]:
    """Options of a Ray task for the needs of a capture, and these needs filled in."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]

    def most(name: str) -> float:
        return max((node.get(name, 0.0) for node in nodes), default=0.0)

    total = int(sum(node.get("CPU", 0.0) for node in nodes))
    cores = cores_each(needs, total, max(1, int(most("CPU"))), count)
    memory = needs.memory_gb
    if memory is None:
        memory = min(MEMORY_GB, most("memory") / GIGABYTE)
    gpus = needs.gpus
    if gpus is None:
        gpus = 1.0 if most("GPU") else 0.0
    wanted = {"CPU": cores, "memory": int(memory * GIGABYTE), "GPU": gpus}
    if not any(_fits(wanted, node) for node in nodes):
        said = (
            f"a capture is to have {cores} cores, {memory:g} GB and {gpus:g} GPUs; no machine of "
            f"the cluster has as much (at most {most('CPU'):g}, {most('memory') / GIGABYTE:.1f} GB "
            f"and {most('GPU'):g})"
        )
        if local:
            raise InputError(f"{said}.")
        notice(f"{said}: the captures wait for one.")
    options = {
        "num_cpus": cores,
        "memory": wanted["memory"],
        "num_gpus": gpus,
        "max_retries": 0,  # `_collect` does so, and says it.
    }
    return options, Needs(cores, memory, gpus)


def _fits(wanted: Mapping[str, float], node: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= value for name, value in wanted.items())
