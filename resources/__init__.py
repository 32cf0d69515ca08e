"""What the assets stand on: model servers, the lake, the ledger. Never imports synth_assets."""
