"""Floor 0: tensors only. Projection, spectra and their correction, metrics, the linear probe."""
