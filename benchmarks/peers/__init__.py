"""One program for each client that ours is measured beside, and how such a program is run."""
