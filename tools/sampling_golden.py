#!/usr/bin/env python3
"""Writes engine/src/test/resources/sampling/golden.txt: what transformers makes of small rows of logits.

    python tools/sampling_golden.py > engine/src/test/resources/sampling/golden.txt

One case in six lines: name and parameters, logits, prompt, output, then the adjusted logits of `adjust` cases (bias,
transformers' repetition penalty, then vLLM's formula of frequency and presence in torch), or the ids that the filters of
`filter` cases keep. Numbers are float32, written so that they read back exactly.
"""
import torch
from transformers.generation import logits_process as lp

torch.manual_seed(20)
WIDTH = 48


def show(values):
    return " ".join(repr(v) if isinstance(v, int) else float(v).hex() for v in values)


def case(name, parameters, logits, prompt, output, result):
    print(name, *(f"{k}={v}" for k, v in parameters.items()))
    for line in (logits.tolist(), prompt, output, result):
        print(show(line))
    print()


def adjust(repetition, frequency, presence, bias, prompt_length, output_length):
    logits = torch.randn(WIDTH) * 4
    prompt = torch.randint(0, WIDTH, (prompt_length,)).tolist()
    output = torch.randint(0, WIDTH // 3, (output_length,)).tolist()
    scores = logits.clone()
    if bias:
        for token in range(0, WIDTH, 5):
            scores[token] += bias
    seen = torch.tensor([prompt + output])
    scores = lp.RepetitionPenaltyLogitsProcessor(penalty=repetition)(seen, scores[None])[0]
    counts = torch.bincount(torch.tensor(output, dtype=torch.int64), minlength=WIDTH).float()
    scores = scores - frequency * counts
    scores = scores - presence * (counts > 0).float()
    case("adjust", dict(repetition=repetition, frequency=frequency, presence=presence, bias=bias), logits, prompt, output,
         scores.tolist())


def keep(temperature, top_k, top_p, min_p, scale):
    logits = torch.randn(WIDTH) * scale
    scores = lp.TemperatureLogitsWarper(temperature)(None, logits[None])
    if min_p > 0:
        scores = lp.MinPLogitsWarper(min_p)(None, scores)
    if top_k > 0:
        scores = lp.TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = lp.TopPLogitsWarper(top_p)(None, scores)
    kept = torch.isfinite(scores[0]).nonzero().flatten().tolist()
    case("filter", dict(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p), logits, [], [], kept)


adjust(1.0, 0.0, 0.0, 0.0, 5, 5)
adjust(1.3, 0.0, 0.0, 0.0, 12, 0)
adjust(1.3, 0.0, 0.0, 0.0, 12, 20)
adjust(0.8, 0.0, 0.0, 0.0, 12, 20)
adjust(1.0, 0.7, 0.0, 0.0, 12, 40)
adjust(1.0, 0.0, 1.5, 0.0, 12, 40)
adjust(1.1, -0.5, -0.25, 0.0, 12, 40)
adjust(1.7, 0.3, 0.9, 2.5, 30, 60)
adjust(1.7, 0.3, 0.9, -6.0, 30, 60)
for scale in (0.5, 2.0):
    keep(1.0, 0, 1.0, 0.0, scale)
    keep(0.7, 5, 1.0, 0.0, scale)
    keep(1.0, 100, 1.0, 0.0, scale)
    keep(1.0, 0, 0.8, 0.0, scale)
    keep(1.5, 0, 0.5, 0.0, scale)
    keep(0.6, 0, 0.95, 0.0, scale)
    keep(1.0, 0, 1.0, 0.2, scale)
    keep(1.4, 0, 1.0, 0.05, scale)
    keep(0.9, 20, 0.7, 0.0, scale)
    keep(0.9, 20, 0.9, 0.1, scale)
