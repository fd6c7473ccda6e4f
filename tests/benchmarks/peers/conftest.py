"""Nothing here is a test, and most files import a library that the tests have not."""

collect_ignore_glob = ["*.py"]
