"""The ground of all packages: errors, files, hashing, processes, stages, resume. Nothing of decant is imported here."""
