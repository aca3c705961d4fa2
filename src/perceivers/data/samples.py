"""Small files to try things on, which ship with the package; the README.md among them has sources and licences."""

from pathlib import Path

# Whose the files are, and what may be done with them; `sample` gives its path too.
LICENCES = "README.md"

_FOLDER = Path(__file__).parents[1] / "samples"


def sample_names() -> list[str]:
    """Return the names that `sample` takes, e.g. "flow/photo1.jpg"."""
    files = (path for path in _FOLDER.rglob("*") if path.is_file() and path.name != LICENCES)
    return sorted(path.relative_to(_FOLDER).as_posix() for path in files)


def sample(name: str) -> Path:
    """Return the path of a file that ships with the package.

    Args:
        name: One of `sample_names`, or "README.md".

    Raises:
        ValueError: There is no such file.
    """
    if name not in (*sample_names(), LICENCES):
        raise ValueError(f"sample '{name}' not found; choices = {sample_names()}")
    return _FOLDER / name
