"""What a batch or a call holds: walking through it, copying, storing and hashing it; audio files."""
