"""Dagster glue: keys, partitions, metadata, checks. Short bodies that call `synth_assets.core`."""
