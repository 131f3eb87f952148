"""One module a scheme, found by its name: `connect(scheme) -> ObjectStore`. `other` takes what fsspec knows besides."""
