"""Catalogue of the built-in scenes."""

from collections.abc import Callable
from dataclasses import dataclass

from splat_uff.scenes.desk import build_desk
from splat_uff.scenes.drums import build_drums
from splat_uff.scenes.lighting import OPEN_SKY, Lighting
from splat_uff.scenes.parts import Part
from splat_uff.scenes.plant import build_plant
from splat_uff.scenes.poses import AROUND, Cameras
from splat_uff.scenes.room import INDOORS, build_room
from splat_uff.scenes.room_walk import WALK
from splat_uff.scenes.toy import build_toy
from splat_uff.scenes.truck import build_truck


@dataclass(frozen=True)
class Recipe:
    """Recipe of one built-in scene."""

    build: Callable[[], list[Part]]
    description: str
    photo_size: int = 400
    """Width and height of photos and masks, in pixels."""
    truth_size: int = 200
    """Width and height of ids, depth and co-visibility, in pixels."""
    num_train: int = 100
    num_val: int = 20
    cameras: Cameras = AROUND
    lighting: Lighting = OPEN_SKY

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """All numbers of the recipe."""
        return self.photo_size, self.truth_size, self.num_train, self.num_val


RECIPES = {
    "drums": Recipe(build_drums, "a drum kit: nine instruments and their stands"),
    "desk": Recipe(build_desk, "a writing desk: small things, many of them alike"),
    "truck": Recipe(build_truck, "a work truck: hard surfaces, thin parts, parts inside parts"),
    "plant": Recipe(build_plant, "a rubber tree in a pot: many similar leaves on branches"),
    "room": Recipe(
        build_room,
        "a living room seen from inside: walls, and furniture in groups",
        cameras=WALK,
        lighting=INDOORS,
    ),
    "toy": Recipe(
        build_toy,
        "ten parts in three groups, for tests",
        photo_size=64,
        truth_size=64,
        num_train=24,
        num_val=6,
    ),
}
"""Recipes by name, in the order of the list."""
