"""The networks of both papers, as flax.linen modules."""
