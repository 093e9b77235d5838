"""Batches on Ray: a cluster of two nodes on this machine, one of which is killed amid a capture."""

import os
import signal
import time
import warnings
from pathlib import Path

import pytest

from tests.batch.small import (
    attempts,
    batch_process,
    files_of,
    finished,
    has_ended,
    in_the_middle,
    kill,
    parent_of,
    standings,
    wait_for,
    write_list,
)

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = [
    pytest.mark.usefixtures("toy"),
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("SPLAT_UFF_CLUSTER"),
        reason="make cluster runs it: on a busy machine, Ray's nodes time out",
    ),
]

NODE = {"num_cpus": 1, "memory": 2 * 10**9, "object_store_memory": 80 * 2**20}
START_SECONDS = 240
"""Most seconds in which Ray is started again and again: each time it gives up after 15 seconds,
which are not enough if the machine is busy with something else."""
NAMES = ["one", "two", "three", "four"]


@pytest.fixture
def nodes(monkeypatch):
    """A cluster of two nodes of one core each, and the second of them."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 4)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # On import, of its own.
        from ray._raylet import Config
    Config.initialize("")  # Ray read the environment when it was imported.
    end = time.monotonic() + START_SECONDS
    try:
        while (started := start_nodes()) is None:
            if time.monotonic() > end:
                pytest.skip("this machine is too busy for Ray to start")
        yield started
        started[0].shutdown()
    finally:
        monkeypatch.undo()
        Config.initialize("")


def start_nodes():
    """Start a cluster of two nodes; None if Ray gives up."""
    from ray.cluster_utils import Cluster

    before, cluster = children(), Cluster()
    try:
        cluster.add_node(**NODE, include_dashboard=False)
        return cluster, cluster.add_node(**NODE)
    except Exception as error:
        cluster.shutdown()
        for process in children() - before:  # Ray forgets those of a node that did not start.
            os.kill(process, signal.SIGKILL)
        if "timed out during startup" not in str(error):
            raise
        return None


def children():
    """Processes that this one has started and that have not ended."""
    listed = Path("/proc/self/task").glob("*/children")
    return {int(each) for path in listed for each in path.read_text().split()}


def test_batch_goes_on_when_a_node_is_killed(nodes, tmp_path):
    cluster, second = nodes
    (raylet,) = second.all_processes["raylet"]
    listed, output = write_list(tmp_path / "scenes.toml", NAMES), tmp_path / "runs"

    def victim():
        """A capture amid its training on the second node, and its process."""
        for name in NAMES if finished(output, NAMES) else ():
            trainer = in_the_middle(output, name)
            if trainer and not has_ended(trainer):
                worker = parent_of(trainer)
                if parent_of(worker) == raylet.process.pid:
                    return name, trainer
        return None

    address = ("--address", cluster.address, "--cores", "1", "--memory-gb", "1")
    with batch_process(listed, "--output", output, *address) as process:
        name, trainer = wait_for(victim, process)
        done = finished(output, NAMES)
        before = files_of(output, done)
        cluster.remove_node(second, allow_graceful=False)
        wait_for(lambda: has_ended(trainer), process)
        said = process.communicate()[0]
    assert process.returncode == 0, said
    assert f"{name}: its machine or worker was lost" in said
    assert standings(output) == dict.fromkeys(NAMES, "finished")
    assert done
    assert files_of(output, done) == before, "what is finished is not touched"
    lost, again = attempts(output, name)
    assert lost.first_step == "gaussians 1 of 150"
    assert again.first_step.startswith("gaussians ")
    assert int(again.first_step.split()[1]) > 1, "it goes on from its checkpoint"
    for other in set(NAMES) - {name}:
        assert len(attempts(output, other)) == 1


def test_batch_goes_on_when_the_driver_was_killed(tmp_path):
    """A local cluster ends with its driver, and the same command goes on with another."""
    names = NAMES[:2]
    listed, output = write_list(tmp_path / "scenes.toml", names), tmp_path / "runs"
    args = (listed, "--output", output, "--cores", "1", "--memory-gb", "1")
    with batch_process(*args) as process:
        found = wait_for(lambda: [n for n in names if in_the_middle(output, n)], process)
        trainer = in_the_middle(output, found[0]) or attempts(output, found[0])[-1].process
        kill(process)
    with batch_process(*args) as process:
        wait_for(lambda: has_ended(trainer), process)
        said = process.communicate()[0]
    assert process.returncode == 0, said
    assert standings(output) == dict.fromkeys(names, "finished")
    first, again = attempts(output, found[0])
    assert first.first_step == "gaussians 1 of 150"
    assert again.first_step != first.first_step, "it goes on from its checkpoint"
