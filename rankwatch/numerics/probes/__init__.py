"""Linear probes in closed form: small labelled checks of an embedding."""
