"""What a merge will keep of each model, from the analysis alone; no tensor is read."""
