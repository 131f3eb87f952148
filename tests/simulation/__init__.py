"""A cluster simulator that knows the right answer, and an evaluator of its own: the oracle for the whole way through.

Nothing in this package imports the product.
"""
