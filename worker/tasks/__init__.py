"""Tasks on a worker: supervised here, done in a child process each."""
