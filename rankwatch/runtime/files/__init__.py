"""Files of a run, on this machine's disks or wherever fsspec reaches: object stores, and what else has a URL."""
