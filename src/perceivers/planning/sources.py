"""From what a user names to a config, without weights."""

from pathlib import Path

from perceivers.model import PerceiverConfig
from perceivers.pretrained.folder import read_config
from perceivers.pretrained.hf_folder import is_hf_folder, read_hf_config
from perceivers.zoo import find_spec


def find_config(model: str | Path) -> PerceiverConfig:
    """Return the config of a model of the zoo, or of the one in a folder, of which `config.json` is enough.

    Raises:
        ValueError: There is no such model, or its config is broken.
    """
    folder = Path(model)
    if not folder.is_dir():
        return find_spec(str(model)).config
    if is_hf_folder(folder):
        return read_hf_config(folder, numerics="original")
    return read_config(folder)[0]
