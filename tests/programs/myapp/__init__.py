"""The application of the pages in docs/recipes. Nothing in it knows of forks."""
