"""What `benchmarks/kills.py` is made of: whom it kills, and how it finds out what that cost."""
