"""Turns links to files of the repository that are no pages into addresses, so that they work on the site as well."""

import re
from logging import getLogger
from pathlib import Path, PurePosixPath
from posixpath import normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

# A warning ends a strict build.
_LOG = getLogger("mkdocs.hooks.outside_links")
_LINK = re.compile(r"(?<=\]\()(\.\./[^)\s#]+)(#[^)\s]*)?(?=\))")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page that lead out of the folder of pages."""
    root = Path(config.config_file_path).parent
    docs = PurePosixPath(Path(config.docs_dir).relative_to(root).as_posix())

    def rewrite(found: re.Match[str]) -> str:
        target = normpath(docs / PurePosixPath(page.file.src_uri).parent / found.group(1))
        if PurePosixPath(target).is_relative_to(docs):
            return found.group()
        if not (root / target).exists():
            _LOG.warning("%s links to '%s', which does not exist", page.file.src_uri, found.group(1))
        kind = "tree" if (root / target).is_dir() else "blob"
        return f"{config.repo_url}/{kind}/main/{target}{found.group(2) or ''}"

    return _LINK.sub(rewrite, markdown)
