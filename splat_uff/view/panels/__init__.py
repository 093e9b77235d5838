"""The tabs of the panel beside the scene, each module named after its tab."""
