"""The ``heimdall`` program: clients of the running server, and the supervisor that runs it."""
