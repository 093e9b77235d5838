"""Materials that the built-in scenes share."""

from splat_uff.scenes.parts import Material, colour

CHROME = Material(colour("#e6e8ec"), specular=0.6, gloss=40, metallic=0.8)
STEEL = Material(colour("#a6a9b0"), specular=0.4, gloss=25, metallic=0.6)
BRASS = Material(colour("#d2a250"), specular=0.5, gloss=22, metallic=0.6)
DARK_BRASS = Material(colour("#b88a40"), specular=0.5, gloss=22, metallic=0.6)
BLACK_PLASTIC = Material(colour("#26272b"), specular=0.25, gloss=25)
RUBBER = Material(colour("#1c1c1e"), specular=0.08, gloss=8)
WHITE_FILM = Material(colour("#e9e6dc"), specular=0.1, gloss=15)
WHITE_PLASTIC = Material(colour("#e4e4e0"), specular=0.25, gloss=30)
BLACK_FELT = Material(colour("#38383c"), specular=0.0)
WHITE_FELT = Material(colour("#d9d5c8"), specular=0.0)
RED_LACQUER = Material(colour("#a3161c"), specular=0.45, gloss=45)
DARK_LACQUER = Material(colour("#3a0d10"), specular=0.4, gloss=45)
LEATHER = Material(colour("#2b2a2e"), specular=0.22, gloss=14)
MAPLE = Material(colour("#d3a266"), specular=0.25, gloss=25, grain=0.35)
OAK = Material(colour("#a9743f"), specular=0.15, gloss=18, grain=0.5)
WALNUT = Material(colour("#5e3a22"), specular=0.2, gloss=20, grain=0.5)
