"""Download of a checkpoint through huggingface_hub, which reads HF_HOME, HF_TOKEN and HF_HUB_OFFLINE itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from stagegraph.errors import ComponentError
from stagegraph_ltx2.checkpoint.components import COMPONENTS, STEMS
from stagegraph_ltx2.checkpoint.folder import INDEX
from stagegraph_ltx2.checkpoint.upsampler import FOLDERS as UPSAMPLER_FOLDERS
from stagegraph_ltx2.errors import failure

#: Of a repository with a text encoder alone.
TEXT_ENCODER_FILES = ("*.json", "*.jinja", "model*.safetensors")


def wanted_files() -> tuple[str, ...]:
    """Patterns of the files that this release reads; the single-file checkpoints beside them are tens of gigabytes."""
    return (INDEX, *_component_files(), *_fastvideo_files())


def _component_files() -> Iterator[str]:
    for name, kind in COMPONENTS.items():
        yield f"{name}/*.json"
        if kind.stem:
            yield f"{name}/{kind.stem}*.safetensors"


def _fastvideo_files() -> Iterator[str]:
    """FastVideo writes all weights by the name that transformers has for them, and Gemma into a folder within."""
    yield from (f"{name}/{STEMS[1]}*.safetensors" for name in ("transformer", "vae", "audio_vae", "vocoder"))
    for folder in ("text_encoder/gemma", *UPSAMPLER_FOLDERS[1:]):
        yield from (f"{folder}/*.json", f"{folder}/{STEMS[1]}*.safetensors")


def fetch(
    repository: str, *, revision: str | None, cache_dir: Path | None, wanted: Sequence[str], local: bool = False
) -> Path:
    """The folder with a snapshot of a repository, downloaded as far as it is not there.

    Args:
        repository: `org/name`.
        revision: branch, tag or commit; None is the main branch.
        cache_dir: None is Hugging Face's cache.
        wanted: patterns of the files.
        local: take what was downloaded before, and download nothing.

    Raises:
        ComponentError: no such repository or revision, no access, offline, a download that failed.
    """
    # Takes a fifth of a second, and a local folder does not need it.
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repository, revision=revision, cache_dir=cache_dir, allow_patterns=list(wanted), local_files_only=local
        )
    except Exception as error:  # its own, those of its HTTP client, and those of the file system
        raise _explained(repository, revision, error, local) from error
    found = Path(folder)
    if not found.is_dir() or not any(found.iterdir()):
        raise _nothing_there(repository, wanted)
    return found


def _nothing_there(repository: str, wanted: Sequence[str]) -> ComponentError:
    site = f"https://huggingface.co/{repository}"
    one = wanted[0] if len(wanted) == 1 else ""
    return failure(
        "no_such_checkpoint",
        f"{repository} has no {one}" if one else f"{repository} is no checkpoint in folders",
        where=site,
        why="" if one else "a repository of single files is no checkpoint; each of its files is one",
        fix=f"name a file of {site}/tree/main: {repository}/<file>.safetensors",
    )


def _explained(repository: str, revision: str | None, error: Exception, local: bool) -> ComponentError:
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"https://huggingface.co/{repository}"
    download = f"hf download {repository}" + (f" --revision {revision}" if revision else "")
    if isinstance(error, GatedRepoError):
        return failure(
            "hub_denied",
            f"access to {repository} is restricted",
            where=where,
            why="its owners ask every account to accept their terms",
            fix=f"accept the terms at {where}, then: hf auth login",
        )
    if isinstance(error, RevisionNotFoundError):
        return failure(
            "no_such_checkpoint",
            f'{repository} has no revision "{revision}"',
            where=where,
            why="a revision is a branch, a tag or a commit",
            fix=f"choose one of those at {where}/tree/main",
        )
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return failure(
            "no_such_checkpoint",
            f"no repository {repository}, or none that this account may see",
            where=where,
            why="there is no folder of this name either",
            fix="use Lightricks/LTX-2, micro, or ./<folder>; for a private repository: hf auth login",
        )
    if local and isinstance(error, LocalEntryNotFoundError):
        return failure(
            "hub_offline",
            f"{repository} is not on this machine",
            where=where,
            why="only what was downloaded before is looked at",
            fix=download,
        )
    if isinstance(error, OfflineModeIsEnabled | LocalEntryNotFoundError):
        return failure(
            "hub_offline",
            f"{repository} is not on this machine, and it cannot be downloaded now",
            where=where,
            why="HF_HUB_OFFLINE is set, or the Hub cannot be reached",
            fix=f"with a network: HF_HUB_OFFLINE=0 {download}",
        )
    first_line = str(error).partition("\n")[0]
    return failure(
        "hub_failed",
        f"the download of {repository} failed: {type(error).__name__}: {first_line}",
        where=where,
        why="what was downloaded is kept, and a new attempt goes on from there",
        fix=download,
    )
