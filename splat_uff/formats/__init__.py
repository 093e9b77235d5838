"""Files of splats, whatever their format, as tables of the 3DGS columns, and back."""
