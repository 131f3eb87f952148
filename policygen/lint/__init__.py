"""What is wrong, useless or dangerous in a set of policies, each finding with its proof.

Belongs to the judge: it reads policies and knows nothing of how they are written.
"""
