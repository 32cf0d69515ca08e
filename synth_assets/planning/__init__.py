"""What to run and in which order: stale partitions, what they would cost, and running exactly them."""
