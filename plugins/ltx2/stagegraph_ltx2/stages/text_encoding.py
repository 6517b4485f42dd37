"""`ltx2.text_encoding`: prompts to what the transformer reads."""

from __future__ import annotations

from collections.abc import Mapping

from stagegraph import outputs, param, stage
from stagegraph.errors import Fault, InputError
from stagegraph.facts import Facts
from stagegraph_ltx2 import memory
from stagegraph_ltx2.errors import fault
from stagegraph_ltx2.model.config import ConnectorsConfig
from stagegraph_ltx2.parts import Connectors, TextEncoder
from stagegraph_ltx2.values import TextContext


@outputs
class EncodedPrompts:
    """What the prompts became; `negative` is None if no negative prompt was given."""

    positive: TextContext
    negative: TextContext | None


@stage("ltx2.text_encoding", version=1)
class LTX2TextEncodingStage:
    """Encode a prompt, and a negative prompt if there is one."""

    truncate: bool = param(default=False, help="Cut prompts of more than 1024 tokens; otherwise they are an error.")

    def memory(self, inputs: Mapping[str, Facts]) -> int | None:
        """Of two prompts."""
        network = memory.network(inputs["connectors"], ConnectorsConfig)
        return memory.text_encoding(network[0], 2, network[1]) if network is not None else None

    def run(
        self,
        prompt: str,
        negative_prompt: str | None = None,
        *,
        text_encoder: TextEncoder,
        connectors: Connectors,
    ) -> EncodedPrompts:
        """Encode.

        Args:
            prompt: what to make, up to 1024 tokens.
            negative_prompt: what to move away from; only guidance reads it. An empty text is a prompt too.
            text_encoder: lent.
            connectors: lent.

        Raises:
            InputError: a prompt is too long.
        """
        import torch

        prompts = [prompt] if negative_prompt is None else [prompt, negative_prompt]
        encoded = text_encoder.encode(prompts)
        if any(encoded.cut) and not self.truncate:
            raise InputError(*(_too_long(cut) for cut in encoded.cut if cut))
        module = connectors.module
        weight = module.video_connector.learnable_registers
        with torch.inference_mode():
            video, audio, _ = module(encoded.hidden_states.to(weight), encoded.mask.to(weight.device))
        positive, *negative = (TextContext(*pair) for pair in zip(video.split(1), audio.split(1), strict=True))
        return EncodedPrompts(positive, negative[0] if negative else None)


def _too_long(cut: int) -> Fault:
    from stagegraph_ltx2.text_encoder import MAX_TOKENS

    what = f"a prompt has {MAX_TOKENS + cut} tokens"
    fix = f"shorten it by {cut} tokens, or set the param truncate to cut the end off"
    return fault("prompt_too_long", what, why=f"the model reads {MAX_TOKENS}", fix=fix)
