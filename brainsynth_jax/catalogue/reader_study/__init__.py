"""Do readers tell the synthetic slices from real ones? A study of it, and what it found."""
