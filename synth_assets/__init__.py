"""Synthetic pre-training data from a curated corpus, as Dagster software-defined assets."""
