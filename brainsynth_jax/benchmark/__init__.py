"""What a training step costs here, and what PyTorch takes for the same."""
