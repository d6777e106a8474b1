"""The table and the other faces in a real browser."""
