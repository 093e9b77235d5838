"""The tabs of the panel beside the scene, each named as its tab."""
