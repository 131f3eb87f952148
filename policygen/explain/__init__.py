"""Why a connection passes or does not: the path through tiers and rules, and what the nearest rule misses by.

Belongs to the judge: the verdict is always the oracle's; here it is put into words.
"""
