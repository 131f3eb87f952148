"""flowctl: what workloads say to each other, least-privilege policies for it, and the proof that nothing breaks."""

__version__ = "0.1.0"
