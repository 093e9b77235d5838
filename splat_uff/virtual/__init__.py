"""Virtual views of splats that come without photos."""
