"""The catalogue's images as files for other programs, in folders that say what they hold."""
