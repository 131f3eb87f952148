"""One check a file; the file's name with dashes is the check's id. See policygen.lint.model.Check."""
