"""What a configuration may say, a module for each of its parts; `pyserver.repository.validate` applies them."""
