"""The delta-base optimizer: which parent each model is measured against, and which rows are on."""
