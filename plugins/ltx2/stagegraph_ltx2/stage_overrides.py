"""Settings of the refine pass, by the names that users of other LTX-2 pipelines know; laid over a two-pass manifest.

::

    manifest = refined(
        find("ltx2/text-to-video-two-pass", registry),
        LTX2RefinePresetOverride(add_noise=True),
        LTX2RefineStageOverride(num_inference_steps=2),
    )
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from stagegraph.errors import Fault, ManifestError
from stagegraph.manifest import Manifest, NodeDecl
from stagegraph.serde import structure, unstructure


@attrs.frozen
class LTX2RefinePresetOverride:
    """Whether there is a refine pass, and how it starts; None leaves what the manifest says.

    Attributes:
        enabled: False takes the pass out, and the video comes from the base pass, at its size.
        add_noise: False refines the upsampled latents without mixing noise into them.
    """

    enabled: bool | None = None
    add_noise: bool | None = None


@attrs.frozen
class LTX2RefineStageOverride:
    """How the refine pass runs; None leaves what the manifest says.

    Attributes:
        num_inference_steps: 3 or 2.
        guidance_scale: 1 is no guidance.
        image_crf: H.264 quality of the stills that the pass is conditioned on, 0 to 51.
        video_position_offset_sec: seconds of sound before the video.
    """

    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    image_crf: int | None = None
    video_position_offset_sec: float | None = None


def refine_override_to_dict(override: LTX2RefinePresetOverride | LTX2RefineStageOverride) -> dict[str, Any]:
    """The fields that are set."""
    plain: dict[str, Any] = unstructure(override)
    return {name: value for name, value in plain.items() if value is not None}


def preset_override(data: Mapping[str, Any]) -> LTX2RefinePresetOverride:
    """Read plain data.

    Raises:
        StructureError: unknown keys, values of the wrong type.
    """
    override: LTX2RefinePresetOverride = structure(data, LTX2RefinePresetOverride)
    return override


def stage_override(data: Mapping[str, Any]) -> LTX2RefineStageOverride:
    """Read plain data.

    Raises:
        StructureError: unknown keys, values of the wrong type.
    """
    override: LTX2RefineStageOverride = structure(data, LTX2RefineStageOverride)
    return override


def refined(
    manifest: Manifest,
    preset: LTX2RefinePresetOverride | None = None,
    stage: LTX2RefineStageOverride | None = None,
) -> Manifest:
    """A two-pass manifest with overrides laid over its refine pass.

    The pass is found by what it is: the `ltx2.denoising` node whose latents come, straight or through conditioning,
    from an `ltx2.latent_renoising` node.

    Args:
        manifest: with a refine pass.
        preset: whether there is one, and how it starts.
        stage: how it runs.

    Raises:
        ManifestError: there is no refine pass, or nothing in it that a setting would act on.
    """
    preset, stage = preset or LTX2RefinePresetOverride(), stage or LTX2RefineStageOverride()
    chain = _chain(manifest)
    if preset.enabled is False:
        set_too = [*refine_override_to_dict(stage), *(["add_noise"] if preset.add_noise is not None else [])]
        if set_too:
            raise _error(f"{', '.join(set_too)} is set for a refine pass that is not enabled", "set only one of them")
        return _without(manifest, chain)
    renoise, *conditioning, denoise = chain
    settings = (
        ([renoise], "add_noise", preset.add_noise),
        ([renoise], "video_position_offset_sec", stage.video_position_offset_sec),
        ([denoise], "num_inference_steps", stage.num_inference_steps),
        ([denoise], "guidance_scale", stage.guidance_scale),
        ([n for n in conditioning if _stage(manifest, n) == "ltx2.image_conditioning"], "image_crf", stage.image_crf),
    )
    nodes = dict(manifest.nodes)
    for names, param, value in settings:
        if value is not None and not names:
            raise _error(f"{param} is {value}, but no node of the refine pass has it", "condition it on a still")
        for name in names if value is not None else ():
            nodes[name] = attrs.evolve(nodes[name], params={**nodes[name].params, param: value})
    return attrs.evolve(manifest, nodes=nodes)


def _chain(manifest: Manifest) -> list[str]:
    """The nodes of the refine pass: renoising, conditioning, denoising."""
    for name, node in manifest.nodes.items():
        if _stage(manifest, name) != "ltx2.denoising":
            continue
        chain = [name]
        while (source := _source(node, "latents")) in manifest.nodes:
            chain.insert(0, source)
            if _stage(manifest, source) == "ltx2.latent_renoising":
                return chain
            node = manifest.nodes[source]
    raise _error(f"{manifest.name} has no refine pass", "begin with ltx2/text-to-video-two-pass")


def _without(manifest: Manifest, chain: Iterable[str]) -> Manifest:
    """The manifest with what the base pass gives in the place of what the refine pass gave."""
    *_, denoise = chain = list(chain)
    renoise = manifest.nodes[chain[0]]
    upsample = _source(renoise, "video")
    dropped = {*chain, upsample}
    base = _source(manifest.nodes[upsample], "latents")

    def moved(wire: Any) -> Any:
        if isinstance(wire, list):
            return [moved(part) for part in wire]
        node, dot, port = wire.partition(".") if isinstance(wire, str) else ("", "", "")
        return f"{base}{dot}{port}" if node == denoise else wire

    nodes = {
        name: attrs.evolve(node, inputs={port: moved(wire) for port, wire in node.inputs.items()})
        for name, node in manifest.nodes.items()
        if name not in dropped
    }
    return attrs.evolve(manifest, nodes=nodes, outputs={name: moved(ref) for name, ref in manifest.outputs.items()})


def _stage(manifest: Manifest, name: str) -> str:
    return manifest.nodes[name].stage.partition("@")[0]


def _source(node: NodeDecl, port: str) -> str:
    wire = node.inputs.get(port)
    return wire.partition(".")[0] if isinstance(wire, str) else ""


def _error(what: str, fix: str) -> ManifestError:
    return ManifestError(Fault("invalid_value", what, fix=fix))
