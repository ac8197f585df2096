"""What the torch engine is made of: a walk over tiles, reductions of a tile, PyTorch's fused attention."""
