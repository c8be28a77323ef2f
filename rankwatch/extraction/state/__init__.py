"""What a model holds besides its parameters, wherever it holds it: remembered, put back, or noticed and named."""
