"""Settings of the published evaluations, here since command lines show them before torch loads."""

KS = (10, 20, 100, 200)
TEMPERATURE = 0.07
"""Numbers of neighbours in the authors' evaluation, and the paper's temperature (appendix E)."""

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
FOLDS = 5
"""Inverse strengths that a logistic regression chooses from, and folds of its cross-validation."""

FRACTION = 0.6
"""Fraction of a head's attention mass that a mask holds, in the paper."""

FOREGROUNDS = ("auto", "positive", "negative")
"""Sides of the first principal component that may be kept as the foreground."""
