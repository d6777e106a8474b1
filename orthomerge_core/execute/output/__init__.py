"""Where results go: tensors, headers, reports, and the check of a finished file."""
