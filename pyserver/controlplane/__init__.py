"""What the front ends and the server ask of the repository, and how it is done."""
