"""Cameras, axes and nearest neighbours."""
