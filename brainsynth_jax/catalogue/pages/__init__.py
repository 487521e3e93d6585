"""A catalogue and a reader study in a browser."""
