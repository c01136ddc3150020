"""Models whose posterior and evidence are known exactly."""
