"""Sequence parallelism: several processes, each with a device of its own, share the tokens of one denoising loop.

::

    rank 0                                             rank 1, 2, ...
    runs the graph: text, noise, sampler, guidance,    wait at a socket for what rank 0 tells them
    conditioning, progress, checkpoints, decoding
      Team.evaluate                                    worker.take_part
        "model"  weights                ------------>  the transformer, without a file being read
        "scene"  prompts, positions     ------------>  keys and values of the prompt, angles of the own tokens
        "step"   latents, noise level   ------------>
                 own tokens  <--- exchanges in attention --->  own tokens
                 velocities             <------------

Only evaluations of the transformer are divided, not the graph, and not the loop. So there is one sampler, one source of
noise, one progress, one place to cancel at and one store, nothing can drift apart, and the graph, its records and its
keys are those of one process. What that costs, to send the latents and the velocities of a step, is a thousandth of
what attention exchanges. Nor do other ranks load anything: a text encoder is in the memory of rank 0 alone, prompts
arrive encoded, and weights come over the link between the devices, from what rank 0 made of files, faster than from
a disk and whatever was done to them after they were read.

Each rank has as many tokens of the video, and of the sound, as the others (`cuts`; what is missing at the end is
padding that no attention sees). Self-attention exchanges tokens for heads and back (Ulysses); where streams meet, video
looks at gathered audio, which is small, and audio looks at video by heads (`exchange`). Gates and norms of queries and
keys span all heads of a token, so they are applied while its rank has all of them.

Rank 0 is the process that was started. It starts the others itself (`workers`), or is started beside them by torchrun
(`launched`). Each of them holds a socket to rank 0 for as long as it lives: if either end is gone the other knows at
once, whatever it waits for, so that a rank that dies ends the run with its last words and no process is left behind.
The exchange of tensors is torch.distributed's: NCCL between GPUs, gloo on the CPU, both on the loopback interface.
"""
