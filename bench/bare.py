"""The ceiling of bench.engine: bare decodes with the shape of a fork, nothing computed from the logits.

`python -m bench.bare MODEL THREADS` reads one JSON object a line, {"prefix", "voices", "tag", "rows"}, and answers
each with the seconds of its decodes. A process of its own, since the engine it is compared with is one too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from voices.engine.llama import Llama


def bare_loop(llama: Llama, *, prefix: int, voices: int, tag: int, rows: Sequence[int]) -> float:
    """Seconds of one batch of `tag` tokens for each voice and then rows[i] sequences in decode i.

    The prefix, `prefix` tokens shared by all, is in the cache before the clock starts.
    """
    (token, *_) = llama.tokenize(" sea")
    for sequence in range(llama.n_seq):
        llama.cut(sequence, 0)
    for start in range(0, prefix, llama.n_batch):
        positions = range(start, min(start + llama.n_batch, prefix))
        n = len(positions)
        llama.decode([token] * n, positions, [0] * n, [False] * n)
    for sequence in range(1, voices + 1):
        llama.copy(0, sequence, prefix)
    began = time.perf_counter()
    sequences = [sequence for sequence in range(1, voices + 1) for _ in range(tag)]
    positions_of_tags = [prefix + i for _ in range(voices) for i in range(tag)]
    outputs = [i == tag - 1 for _ in range(voices) for i in range(tag)]
    llama.decode([token] * len(sequences), positions_of_tags, sequences, outputs)
    llama.logits(len(sequences) - 1)
    for step, width in enumerate(rows):
        llama.decode([token] * width, [prefix + tag + step] * width, range(1, width + 1), [True] * width)
        llama.logits(width - 1)
    return time.perf_counter() - began


def main() -> None:
    """Answer shapes until stdin ends."""
    model, threads = sys.argv[1:3]
    llama = Llama(Path(model), cells=4096, n_seq=8, threads=int(threads))
    for line in sys.stdin:
        print(bare_loop(llama, **json.loads(line)), flush=True)
    llama.close()


if __name__ == "__main__":
    main()
