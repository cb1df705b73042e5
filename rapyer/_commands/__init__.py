"""What `python -m rapyer` can do, one module for each command."""
