"""A trained model to the Hugging Face Hub."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from perceivers.pretrained.folder import CONFIG_FILE, WEIGHTS_FILE, load_folder
from perceivers.pretrained.hub import is_repo_id

# What is published of a run's folder: not its checkpoints or curves.
PUBLISHED = (CONFIG_FILE, WEIGHTS_FILE, "README.md", "recipe.yaml", "metrics.json", "history.jsonl")


def push_to_hub(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    message: str = "Upload a model of perceivers",
) -> str:
    """Publish a saved model, with its card and the record of its training; `load(repo_id)` then finds it.

    Args:
        folder: Where the model was saved or trained.
        repo_id: `owner/name`; the repository is made when there is none.
        private: Whether a repository that is made is private; `None` leaves it to the owner's settings.
        token: Access token with the right to write; `None` takes the one that was logged in with.
        message: What is written into the repository's history.

    Returns:
        The address of what was written.

    Raises:
        ValueError: The folder holds no model that can be loaded, or the Hub refuses or cannot be reached.
    """
    folder = Path(folder)
    if not is_repo_id(repo_id):
        raise ValueError(f"repository '{repo_id}' must have the form owner/name")
    load_folder(folder)
    api = HfApi(token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, allow_patterns=list(PUBLISHED), commit_message=message
        )
    except OfflineModeIsEnabled as error:
        raise ValueError(f"'{repo_id}' cannot be written in offline mode (HF_HUB_OFFLINE)") from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code == 401:
            raise ValueError(
                f"the Hub lets nobody unknown write '{repo_id}': log in with `hf auth login`, or give a token"
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"'{repo_id}' cannot be written to the Hub: {reason}") from error
    return commit.commit_url
