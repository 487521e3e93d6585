"""Learns from annotated brain scans, makes new labelled ones, and says how good they are."""
