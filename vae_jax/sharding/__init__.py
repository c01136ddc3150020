"""All devices as one, and all processes: the only code that knows how many there are.

`processes` starts several and keeps them together, `placement` says where arrays lie, in training
above all, and `observations` runs an engine of `bayes_jax` with the observations spread over the
devices. With one device and one process, all of it does nothing.

Nothing is imported here: `processes` must be, and be called, before anything uses jax.
"""
