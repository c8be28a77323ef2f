"""Interactive figures of recorded runs, as plotly's graph objects: pure functions, without files or a trainer."""
