"""Layer outputs as (B, T, C), and which of their frames are valid."""
