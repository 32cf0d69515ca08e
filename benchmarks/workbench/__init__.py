"""What the benchmarks share: a project against a model server of its own, documents, figures."""
