"""Scans and pictures on disk become checked, scaled, resized slices."""
