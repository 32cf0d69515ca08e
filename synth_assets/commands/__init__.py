"""The bodies of the `synth` commands, one module each; `synth_assets.cli` holds their options."""
