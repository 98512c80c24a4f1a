"""The values of an experiment: their schema, and how conf/ and params.yaml compose."""
