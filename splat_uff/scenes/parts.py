"""Parts of a built-in scene: meshes with a place in the hierarchy and a material."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from splat_uff.system.records import array_record

AXES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True)
class Material:
    """Optical properties of a surface; colours are linear, not sRGB."""

    albedo: tuple[float, float, float]
    specular: float = 0.2
    """Strength of highlights, 0 to 1; metals tint them with their albedo."""
    gloss: float = 30.0
    """Blinn-Phong exponent; larger values give smaller highlights."""
    metallic: float = 0.0
    """Share of light that is reflected from the surroundings instead of scattered, 0 to 1."""
    grain: float = 0.0
    """Contrast of wood grain, 0 to 1."""
    grain_axis: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Direction of the grain, in the world."""
    glow: float = 0.0
    """Light that the surface gives off by itself, as a multiple of its albedo."""


@array_record
class Mesh:
    """Triangles in a right-handed world with z up, wound counter-clockwise seen from outside."""

    vertices: Float[np.ndarray, "N 3"]
    triangles: Int[np.ndarray, "M 3"]

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Mesh":
        """Shift the mesh by a vector."""
        return Mesh(self.vertices + np.array([x, y, z]), self.triangles)

    def turned(self, axis: str, *, degrees: float) -> "Mesh":
        """Turn the mesh about a coordinate axis through the origin, counter-clockwise."""
        return Mesh(self.vertices @ rotation(axis, degrees=degrees).T, self.triangles)

    def stretched(self, x: float = 1.0, y: float = 1.0, z: float = 1.0) -> "Mesh":
        """Scale the mesh along the coordinate axes by positive factors."""
        return Mesh(self.vertices * np.array([x, y, z]), self.triangles)


@dataclass(frozen=True)
class Part:
    """One object of the ground truth; parts with the same path are one object."""

    collection: str
    name: str
    mesh: Mesh
    material: Material

    @property
    def path(self) -> str:
        """Path of the object in the hierarchy: `collection/name`."""
        return f"{self.collection}/{self.name}"

    def moved(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> "Part":
        """Shift the part by a vector."""
        return replace(self, mesh=self.mesh.moved(x, y, z))

    def turned(self, axis: str, *, degrees: float) -> "Part":
        """Turn the part about a coordinate axis through the origin, counter-clockwise."""
        return replace(self, mesh=self.mesh.turned(axis, degrees=degrees))


def join(meshes: Iterable[Mesh]) -> Mesh:
    """Join several meshes to one."""
    vertices, triangles, count = [], [], 0
    for mesh in meshes:
        vertices.append(mesh.vertices)
        triangles.append(mesh.triangles + count)
        count += len(mesh.vertices)
    return Mesh(np.concatenate(vertices), np.concatenate(triangles))


def rotation(axis: str, *, degrees: float) -> Float[np.ndarray, "3 3"]:
    """Rotation about a coordinate axis, counter-clockwise when seen from its tip."""
    first, second = (AXES[axis] + 1) % 3, (AXES[axis] + 2) % 3
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    matrix[[first, second], [first, second]] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix


def colour(code: str) -> tuple[float, float, float]:
    """Convert an sRGB code such as `#aa3311` to a linear colour."""
    srgb = [int(code[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in srgb)
    return red, green, blue
