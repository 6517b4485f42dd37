"""From a word, a path or a repository to a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

import huggingface_hub
import pytest
from httpx2 import ConnectError, Request, Response
from huggingface_hub import errors as hub_errors

import stagegraph_ltx2
from stagegraph_ltx2.checkpoint.hub import wanted_files
from stagegraph_ltx2.checkpoint.resolve import present, resolve
from stagegraph_ltx2.checkpoint.tiny import make_tiny
from stagegraph_ltx2.checkpoint.tiny_recipe import VERSION, Variant

Refusal = Callable[[Callable[[], object]], str]
WHY = (
    "a checkpoint is a folder or a file, one of micro, tiny, tiny-base, tiny-2.3, tiny-2.3-base, or a Hugging Face "
    "repository like Lightricks/LTX-2"
)
TINY = f"tiny.v{VERSION}"
SITE = "https://huggingface.co/org/name"


def no_download(*args: object, **kwargs: object) -> str:
    raise AssertionError("the Hub was asked")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_download)
    monkeypatch.chdir(tmp_path)


def test_a_folder_is_itself(tmp_path: Path) -> None:
    folder = tmp_path / "org" / "name"
    folder.mkdir(parents=True)
    assert resolve(folder) == folder
    assert resolve("org/name") == Path("org/name")
    assert resolve("./org/name") == Path("org/name")


@pytest.mark.parametrize(
    ("name", "shown", "fix"),
    [
        ("./moddel", "moddel", "did you mean ./model?"),
        ("moddel", "moddel", "did you mean ./model?"),
        ("{tmp}/moddel", "<tmp>/moddel", "did you mean <tmp>/model?"),
        ("{tmp}/absent/model", "<tmp>/absent/model", "ls <tmp>/absent"),
        ("tinny", "tinny", "did you mean tiny?"),
        ("mircro", "mircro", "did you mean micro?"),
        ("a/b/c", "a/b/c", "ls a/b"),
        ("org/name@", "org/name@", "ls org"),
        ("~nobody-here/x", "~nobody-here/x", "ls ~nobody-here"),
        ("a" * 300, "a" * 300, "ls ."),
    ],
)
def test_a_path_is_never_looked_for_on_the_hub(
    tmp_path: Path, refusal: Refusal, name: str, shown: str, fix: str
) -> None:
    (tmp_path / "model").mkdir()
    assert refusal(lambda: resolve(name.format(tmp=tmp_path))) == (
        f"{shown}: error[ltx2.no_such_checkpoint]: no such file or folder: {shown}\n  why: {WHY}\n  fix: {fix}"
    )


def test_a_path_object_is_never_a_repository(refusal: Refusal) -> None:
    assert "no such file or folder: org/name" in refusal(lambda: resolve(Path("org/name")))


def test_a_repository_is_downloaded_as_far_as_it_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, object] = {}

    def download(repository: str, **options: object) -> str:
        asked.update(options, repository=repository)
        (tmp_path / "model_index.json").write_text("{}")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert resolve("org/name@v1", cache_dir=tmp_path) == tmp_path
    patterns = list(wanted_files())
    options = {"revision": "v1", "cache_dir": tmp_path, "allow_patterns": patterns, "local_files_only": False}
    assert asked == {"repository": "org/name", **options}


def test_one_file_of_a_repository_is_downloaded_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: Refusal
) -> None:
    asked: list[tuple[str, object, object]] = []

    def download(repository: str, *, revision: str | None, allow_patterns: list[str], **options: object) -> str:
        asked.append((repository, revision, allow_patterns))
        snapshot = tmp_path / "snapshot"
        (snapshot / "sub").mkdir(parents=True, exist_ok=True)
        if "absent" not in allow_patterns[0]:
            (snapshot / allow_patterns[0]).touch()
        else:
            shutil.rmtree(snapshot)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert resolve("org/name/sub/a-1.0.safetensors@v1") == tmp_path / "snapshot" / "sub" / "a-1.0.safetensors"
    assert resolve("org/name/b.safetensors", revision="v2") == tmp_path / "snapshot" / "b.safetensors"
    assert asked == [("org/name", "v1", ["sub/a-1.0.safetensors"]), ("org/name", "v2", ["b.safetensors"])]
    assert refusal(lambda: resolve("org/name/absent.safetensors")) == (
        f"{SITE}: error[ltx2.no_such_checkpoint]: org/name has no absent.safetensors\n"
        f"  fix: name a file of {SITE}/tree/main: org/name/<file>.safetensors"
    )
    assert refusal(lambda: resolve("org/name", wanted=("absent*", "also-absent*"))) == (
        f"{SITE}: error[ltx2.no_such_checkpoint]: org/name is no checkpoint in folders\n"
        "  why: a repository of single files is no checkpoint; each of its files is one\n"
        f"  fix: name a file of {SITE}/tree/main: org/name/<file>.safetensors"
    )


def test_a_file_in_a_folder_that_exists_is_never_looked_for_on_the_hub(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "org").mkdir()
    assert "no such file or folder: org/name/a.safetensors" in refusal(lambda: resolve("org/name/a.safetensors"))
    (tmp_path / "a.safetensors").touch()
    assert resolve("a.safetensors") == Path("a.safetensors")
    assert "did you mean ./a.safetensors?" in refusal(lambda: resolve("b.safetensors"))


def test_of_a_repository_only_weights_configurations_and_tokenizer_are_wanted() -> None:
    wanted = [
        "model_index.json",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "tokenizer/tokenizer.json",
    ]
    wanted += ["transformer/diffusion_pytorch_model-00001-of-00008.safetensors", "text_encoder/model.safetensors"]
    wanted += ["transformer/diffusion_pytorch_model.safetensors.index.json", "scheduler/scheduler_config.json"]
    wanted += ["transformer/model.safetensors", "text_encoder/gemma/model-00001-of-00005.safetensors"]
    wanted += ["text_encoder/gemma/tokenizer.json", "spatial_upscaler/model.safetensors"]
    others = [
        "ltx-2-19b-dev.safetensors",
        "README.md",
        "vae/model.bin",
        "text_encoder/diffusion_pytorch_model.safetensors",
    ]
    others += ["transformer/modeling.py", "tokenizer/tokenizer.model"]
    assert [name for name in wanted + others if any(fnmatch(name, pattern) for pattern in wanted_files())] == wanted


def test_two_revisions_are_refused(refusal: Refusal) -> None:
    assert refusal(lambda: resolve("org/name@v1", revision="v2")) == (
        'error[ltx2.no_such_checkpoint]: "org/name@v1" with revision "v2"\n'
        "  why: two revisions are asked for\n"
        "  fix: remove @v1 or the revision"
    )


RESPONSE = Response(404, request=Request("GET", SITE))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            hub_errors.GatedRepoError("no", response=RESPONSE),
            (
                "error[ltx2.hub_denied]: access to org/name is restricted\n"
                "  why: its owners ask every account to accept their terms\n"
                f"  fix: accept the terms at {SITE}, then: hf auth login"
            ),
        ),
        (
            hub_errors.RepositoryNotFoundError("no", response=RESPONSE),
            (
                "error[ltx2.no_such_checkpoint]: no repository org/name, or none that this account may see\n"
                "  why: there is no folder of this name either\n"
                "  fix: use Lightricks/LTX-2, micro, or ./<folder>; for a private repository: hf auth login"
            ),
        ),
        (
            hub_errors.RevisionNotFoundError("no", response=RESPONSE),
            (
                'error[ltx2.no_such_checkpoint]: org/name has no revision "v1"\n'
                "  why: a revision is a branch, a tag or a commit\n"
                f"  fix: choose one of those at {SITE}/tree/main"
            ),
        ),
        (
            hub_errors.LocalEntryNotFoundError("no"),
            (
                "error[ltx2.hub_offline]: org/name is not on this machine, and it cannot be downloaded now\n"
                "  why: HF_HUB_OFFLINE is set, or the Hub cannot be reached\n"
                "  fix: with a network: HF_HUB_OFFLINE=0 hf download org/name --revision v1"
            ),
        ),
        (
            OSError(28, "No space left on device"),
            (
                "error[ltx2.hub_failed]: the download of org/name failed: OSError: [Errno 28] No space left on device\n"
                "  why: what was downloaded is kept, and a new attempt goes on from there\n"
                "  fix: hf download org/name --revision v1"
            ),
        ),
        (
            ConnectError("reset\nby peer"),
            (
                "error[ltx2.hub_failed]: the download of org/name failed: ConnectError: reset\n"
                "  why: what was downloaded is kept, and a new attempt goes on from there\n"
                "  fix: hf download org/name --revision v1"
            ),
        ),
    ],
)
def test_what_the_hub_says_becomes_one_error_with_a_fix(
    monkeypatch: pytest.MonkeyPatch, refusal: Refusal, error: Exception, text: str
) -> None:
    def fail(*args: object, **kwargs: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    assert refusal(lambda: resolve("org/name", revision="v1")) == f"{SITE}: {text}"


def test_what_is_only_looked_at_is_not_downloaded(monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    def local_only(repository: str, *, local_files_only: bool, **options: object) -> str:
        assert local_files_only
        raise hub_errors.LocalEntryNotFoundError("no")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", local_only)
    assert refusal(lambda: resolve("org/name", local=True)) == (
        f"{SITE}: error[ltx2.hub_offline]: org/name is not on this machine\n"
        "  why: only what was downloaded before is looked at\n"
        "  fix: hf download org/name"
    )


def test_tiny_is_made_once_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "tiny").mkdir()  # a folder of this name does not change what the word means
    folder = resolve("tiny")
    assert folder == tmp_path / "cache" / "stagegraph" / "ltx2" / TINY
    made = (folder / "model_index.json").stat().st_mtime_ns
    assert resolve("tiny") == folder
    assert (folder / "model_index.json").stat().st_mtime_ns == made


def test_tiny_in_a_cache_that_cannot_be_written_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: Refusal
) -> None:
    (tmp_path / "cache").write_text("a file, where a folder is needed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = f"<tmp>/cache/stagegraph/ltx2/{TINY}"
    assert refusal(lambda: resolve("tiny")) == (
        f"{folder}: error[ltx2.unreadable_file]: {TINY} cannot be used: Not a directory\n"
        "  why: the operating system refused it\n"
        f"  fix: ls -ld <tmp>/cache/stagegraph/ltx2 {folder}"
    )


def test_two_that_make_tiny_at_once_share_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    both_absent = threading.Barrier(2)

    def make(folder: Path, variant: Variant) -> Path:
        both_absent.wait()
        return make_tiny(folder, variant)

    monkeypatch.setattr("stagegraph_ltx2.checkpoint.tiny.make_tiny", make)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(resolve, ["tiny", "tiny"]))
    assert answers == [tmp_path / "stagegraph" / "ltx2" / TINY] * 2
    assert [entry.name for entry in (tmp_path / "stagegraph" / "ltx2").iterdir()] == [TINY]


def test_finding_and_checking_a_checkpoint_imports_no_torch(root: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        import stagegraph_ltx2.errors
        from stagegraph_ltx2.checkpoint.convert import convert
        from stagegraph_ltx2.checkpoint.fingerprint import fingerprint
        from stagegraph_ltx2.checkpoint.opening import open_checkpoint
        from stagegraph_ltx2.checkpoint.report import report_on
        from stagegraph_ltx2.checkpoint.resolve import present, resolve
        checkpoint = open_checkpoint(resolve(sys.argv[1]))
        fingerprint(checkpoint.component("connectors"))
        report_on(resolve(sys.argv[1]))
        heavy = {"torch", "transformers", "huggingface_hub", "numpy", "safetensors"} & set(sys.modules)
        sys.exit(f"imported {heavy}" if heavy else 0)
    """
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)


def test_micro_is_part_of_the_package(tmp_path: Path) -> None:
    """A folder of that name is never meant."""
    (tmp_path / "micro").mkdir()
    assert resolve("micro") == present("micro") == Path(stagegraph_ltx2.__file__).parent / "micro"
    assert resolve("./micro") == Path("micro")


@pytest.mark.parametrize("look", [resolve, present])
def test_an_installation_that_has_lost_micro_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: Refusal, look: Callable[[str], Path | None]
) -> None:
    """And how it is mended."""
    monkeypatch.setattr("stagegraph_ltx2.checkpoint.resolve.SHIPPED", tmp_path / "absent")
    assert refusal(lambda: look("micro")) == (
        '<tmp>/absent: error[ltx2.not_shipped]: "micro" is missing from this installation of stagegraph-ltx2\n'
        "  why: it is part of the package, and was left out or removed\n"
        "  fix: pip install --force-reinstall --no-deps stagegraph-ltx2; for a folder with this name, ./micro"
    )
