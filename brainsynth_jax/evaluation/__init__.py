"""Numbers about images, and the report that shows them."""
