"""How soon the page recolours, and what a page costs a training: writes benchmarks/viewer.json.

    python benchmarks/viewer.py --output benchmarks/viewer.json

*Recolouring*: a page of 200 000 Gaussians in a process of its own, and a client that moves its
slider over a web socket, as a browser does, and waits for the new colours. *Server* is from the
event to the message being queued, *client* from sending the one to having received the other.

*Training*: a page with a client that is connected and does not render looks at a training in every
other block of 50 steps. A block's time is compared with that of the two around it: whole trainings
differ by more from one to the next (55 to 71 s in six turns) than a page costs.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
import tyro
import viser
import websockets
import zstandard

from splat_uff import pipeline
from splat_uff.bench import random_inputs
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.render import Gaussians
from splat_uff.run.folder import RunFolder
from splat_uff.run.open import Run
from splat_uff.run.provenance import Provenance
from splat_uff.scenes.builtin import find_scene
from splat_uff.settings import TrainConfig, convert
from splat_uff.system.files import write_json
from splat_uff.system.machine import commit, describe_machine
from splat_uff.view.run_page import RunPage
from splat_uff.view.server import start_server, stop_server
from splat_uff.view.training_page import TrainingPage

GROUPS = 4000
BLOCK = 50
"""Steps that are taken with a page, and then as many without."""
PORT = 8480
CAMERA = {
    "type": "ViewerCameraMessage", "wxyz": [1, 0, 0, 0], "position": [0, 0, -2], "fov": 1.0,
    "near": 0.01, "far": 100.0, "image_height": 480, "image_width": 640, "look_at": [0, 0, 0],
    "up_direction": [0, -1, 0],
}  # fmt: skip


def main(
    gaussians: int = 200_000,
    moves: int = 40,
    rounds: int = 3,
    scene: str = "desk",
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Measure and print.

    Args:
        gaussians: Of the page that is recoloured.
        moves: Of its slider.
        rounds: Trainings that are looked at; 0 leaves them out.
        scene: That is trained on.
        output: Where the figures go.
    """
    record: dict[str, Any] = {"machine": describe_machine(), "commit": commit()}
    record["recolour"] = recolour(gaussians, moves)
    print(json.dumps(record["recolour"]), flush=True)
    if rounds:
        record["training"] = slowdown(scene, rounds)
        print(json.dumps(record["training"]), flush=True)
    if output is not None:
        write_json(output, record)


def recolour(count: int, moves: int) -> dict[str, Any]:
    """Milliseconds from moving the slider to new colours: medians and the longest."""
    child = [sys.executable, __file__, "client", "--port", str(PORT), "--moves", str(moves)]
    server = start_server("benchmark", port=PORT)
    page = RunPage(server, many_gaussians(count), ())
    begun: list[float] = []
    spent: list[float] = []
    cut, show = page.state.cut, page.splats.show

    def begin(num_segments: int) -> None:
        begun.append(time.perf_counter())
        cut(num_segments)

    def shown(colours: np.ndarray, visible: np.ndarray) -> None:
        show(colours, visible)
        if begun:
            spent.append(1000 * (time.perf_counter() - begun.pop()))

    page.state.cut, page.splats.show = begin, shown
    try:
        done = subprocess.run(child, capture_output=True, encoding="utf-8", check=True)
    finally:
        page.close()
        stop_server(server)
    seen = json.loads(done.stdout.splitlines()[-1])
    return {
        "gaussians": count,
        "moves": len(spent),
        "server_ms": round(statistics.median(spent), 1),
        "server_longest_ms": round(max(spent), 1),
        "client_ms": round(statistics.median(seen), 1),
        "client_longest_ms": round(max(seen), 1),
    }


def many_gaussians(count: int) -> Run:
    """A run of random Gaussians on a random tree of `GROUPS` groups."""
    rng = np.random.default_rng(0)
    inputs = random_inputs(64, 1, count=count)
    gaussians = Gaussians(
        inputs["means"],
        inputs["quats"],
        inputs["scales"].log(),
        inputs["opacities"].logit(),
        torch.zeros(count, 1, 3),
        torch.zeros(count, 0, 3),
    )
    group = np.sort(rng.integers(GROUPS, size=count))
    group[:GROUPS] = np.arange(GROUPS)
    parents = np.arange(count + 2 * GROUPS - 1)
    parents[:count] = count + group
    roots = [count + each for each in range(GROUPS)]
    for node in range(count + GROUPS, len(parents)):
        for _ in range(2):
            parents[roots.pop(int(rng.integers(len(roots))))] = node
        roots.append(node)
    heights = np.zeros(len(parents))
    heights[count + GROUPS :] = np.sort(rng.random(GROUPS - 1))
    tree = Hierarchy(Dendrogram(parents, heights, count), np.ones(count, bool))
    folder = RunFolder(Path(tempfile.mkdtemp()))
    provenance = Provenance("random", "", "", "", TrainConfig())
    return Run(folder, provenance, gaussians, tree, np.eye(4))


class Blocks(TrainingPage):
    """A page that looks in every other block of steps, and notes when steps were taken."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.times: dict[str, list[float]] = {}
        self._looks = True

    def figures(self, stage: str, step: int, figures: dict[str, float]) -> None:
        """Show them while looking."""
        if self._looks:
            super().figures(stage, step, figures)

    def after_step(self, stage: str, step: int, total: int, look: Callable[[], Any]) -> None:
        """Note the time, and look or not."""
        self.times.setdefault(stage, []).append(time.perf_counter())
        self._looks = step // BLOCK % 2 == 0
        if self._looks:
            super().after_step(stage, step, total, look)


def slowdown(scene: str, rounds: int) -> dict[str, Any]:
    """How much longer blocks of steps take with a page and a client, than those around without."""
    few = {"gaussians": {"steps": 1500}, "features": {"steps": 800}}
    settings = convert(few, TrainConfig, source="")
    ratios: list[float] = []
    for turn in range(rounds):
        server = start_server("benchmark", port=PORT + 1 + turn)
        follow = [sys.executable, __file__, "client", "--port", str(server.get_port())]
        page = Blocks(server, settings.hierarchy)
        with subprocess.Popen(follow) as receiving, tempfile.TemporaryDirectory() as place:
            folder = find_scene(scene).folder
            pipeline.train(folder, Path(place) / "run", settings, watch=page)
            page.close()
            stop_server(server)
            receiving.terminate()
        for times in page.times.values():
            steps = np.diff(times)
            blocks = [steps[at : at + BLOCK].sum() for at in range(0, len(steps) - BLOCK, BLOCK)]
            for at in range(2, len(blocks) - 1, 2):
                ratios.append(2 * blocks[at] / (blocks[at - 1] + blocks[at + 1]))
    return {
        "scene": scene,
        "trainings": rounds,
        "blocks": len(ratios),
        "ratio_mean": round(float(np.mean(ratios)), 3),
        "ratio_median": round(float(np.median(ratios)), 3),
        "ratio_error": round(float(np.std(ratios) / len(ratios) ** 0.5), 3),
    }


def client(port: int, moves: int = 0) -> None:
    """Connect as a browser does, render nothing, and print how long each move of a slider took.

    Args:
        port: Of the page.
        moves: Of its slider; without any, only receive until the server ends.
    """
    asyncio.run(_follow(port, moves))


async def _follow(port: int, moves: int) -> None:
    protocol = websockets.Subprotocol(f"viser-v{viser.__version__}")
    address = f"ws://127.0.0.1:{port}"
    for _ in range(200):
        try:
            socket = await websockets.connect(address, subprotocols=[protocol], max_size=None)
            break
        except OSError:
            await asyncio.sleep(0.1)
    else:
        raise SystemExit(f"no page at port {port}")
    await socket.send(msgspec.msgpack.encode(CAMERA))
    if not moves:
        try:
            while True:
                await socket.recv()
        except websockets.ConnectionClosed:
            return
    slider = ""
    while not slider:
        for message in _messages(await socket.recv()):
            if message["type"] == "GuiSliderMessage" and message["props"]["label"] == "granularity":
                slider = message["uuid"]
    await asyncio.sleep(3)  # The splats have come, and the first label map is made.
    spent = []
    for move in range(moves):
        update = {"type": "GuiUpdateMessage", "uuid": slider, "updates": {"value": 5 + move}}
        begun = time.perf_counter()
        await socket.send(msgspec.msgpack.encode(update))
        while not any(
            message["type"] == "SceneNodeUpdateMessage" and "buffer" in message["updates"]
            for message in _messages(await socket.recv())
        ):
            pass
        spent.append(1000 * (time.perf_counter() - begun))
        await asyncio.sleep(1.0)
    print(json.dumps(spent))
    await socket.close()


def _messages(raw: bytes | str) -> list[dict[str, Any]]:
    assert isinstance(raw, bytes)
    length = int.from_bytes(raw[8:16], "little")
    content = zstandard.ZstdDecompressor().decompress(raw[16 : 16 + length])
    return msgspec.msgpack.decode(content)["messages"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["client"]:
        tyro.cli(client, args=sys.argv[2:])
    else:
        tyro.cli(main)
