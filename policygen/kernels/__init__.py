"""Kernels of the judge: arrays in, arrays out; nothing here knows a policy."""
