"""Set-up for all tests: every shape that the package states is checked while they run."""

from jaxtyping import install_import_hook

# Must come before the first import of the package.
install_import_hook("perceivers", "beartype.beartype")
