"""Training data as files: the wide form, the long form, the mix, its card and its manifest. Whole exports or none."""
