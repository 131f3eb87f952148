"""Compiled loops over arrays. They know bytes and numbers, nothing of what a workload or a policy is."""
