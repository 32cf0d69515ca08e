"""Plain Python: what to ask a model, what to make of the answer, what it costs. No Dagster, storage or network."""
