#!/usr/bin/env python3
"""Times Hugging Face transformers on a shape of ./baton bench engine, for its --peer.

    ./baton bench engine --device cuda --shape llama-8b --dtype bfloat16 --prefill 8192 --depth 2048 --batch 1,64 --peer \
        'python3 tools/transformers_bench.py --shape llama-8b --prefill 8192 --depth 2048 --batch 1,64'

As there: random weights, random prompts, a context of random keys and values that nobody computes, greedy decoding. Attention is
sdpa. Decoding is run twice, op by op with a growing cache, and on CUDA recorded as a graph over a cache of fixed length; the
faster one counts, "form" says which it was. Prints a JSON line a test, in the fields of llama-bench, or of llama-batched-bench
where sessions decode together. What cannot be run is told on standard error and left out.
Needs: torch, transformers.
"""
import argparse
import json
import pathlib
import statistics
import sys
import time

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, StaticCache

SHAPES = pathlib.Path(__file__).resolve().parent.parent / "bench/src/main/resources/dev/baton/bench/shapes"


def config_of(shape):
    for place in (SHAPES / f"{shape}.json", pathlib.Path(shape) / "config.json"):
        if place.is_file():
            return AutoConfig.from_pretrained(place)
    named = ", ".join(sorted(place.stem for place in SHAPES.glob("*.json")))
    raise SystemExit(f"shape: {shape} (expected: one of {named}, or a directory with config.json)")


class Bench:
    """One model on one device; its methods return seconds."""

    def __init__(self, config, dtype, device):
        self.device = device
        torch.manual_seed(1)
        torch.set_default_dtype(dtype)
        with torch.device(device):
            self.model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
        self.config = config
        self.dtype = dtype

    def tokens(self, batch, count):
        return torch.randint(0, self.config.vocab_size, (batch, count), device=self.device)

    def settle(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work):
        self.settle()
        begun = time.perf_counter()
        work()
        self.settle()
        return time.perf_counter() - begun

    def prefill(self, length, rounds):
        def work():
            output = self.model(input_ids=self.tokens(1, length), use_cache=True, logits_to_keep=1)
            output.logits[:, -1].argmax(-1)

        work()
        return statistics.median(self.seconds(work) for _ in range(rounds))

    def context(self, batch, depth):
        """Random keys and values, by layer."""
        heads = self.config.num_key_value_heads
        width = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
        shape = (batch, heads, depth, width)
        for layer in range(self.config.num_hidden_layers):
            yield layer, *(torch.randn(shape, dtype=self.dtype, device=self.device) for _ in range(2))

    def decode_eager(self, batch, depth, steps, rounds):
        def once():
            cache = DynamicCache(config=self.config)
            for layer, keys, values in self.context(batch, depth):
                cache.update(keys, values, layer)
            ids = self.tokens(batch, 1)

            def work(count):
                nonlocal ids
                for _ in range(count):
                    ids = self.model(input_ids=ids, past_key_values=cache, use_cache=True).logits[:, -1:].argmax(-1)

            work(2)
            return self.seconds(lambda: work(steps))

        return statistics.median(once() for _ in range(rounds))

    def decode_graph(self, batch, depth, steps, rounds):
        cache = StaticCache(config=self.config, max_cache_len=depth + steps + 8)
        ids = self.tokens(batch, 1)

        def step():
            ids.copy_(self.model(input_ids=ids, past_key_values=cache, use_cache=True).logits[:, -1:].argmax(-1))

        def begin():
            for layer in cache.layers:
                layer.cumulative_length.fill_(depth)

        for layer, keys, values in self.context(batch, depth):
            cache.update(keys, values, layer)
        # Allocations and choices of algorithms are made before the recording, on a stream of its own as torch wants it.
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(beside)
        begin()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()

        def once():
            begin()
            graph.replay()
            graph.replay()
            return self.seconds(lambda: [graph.replay() for _ in range(steps)])

        return statistics.median(once() for _ in range(rounds))

    def decode(self, batch, depth, steps, rounds):
        """Seconds of the faster form, and its name."""
        forms = {"eager": self.decode_eager}
        if self.device == "cuda":
            forms["graph"] = self.decode_graph
        taken = {}
        for name, form in forms.items():
            try:
                taken[name] = form(batch, depth, steps, rounds)
            except (RuntimeError, torch.OutOfMemoryError) as e:
                print(f"decode x{batch} at {depth}, {name}: {str(e).splitlines()[0]}", file=sys.stderr)
            if self.device == "cuda":
                torch.cuda.empty_cache()
        if not taken:
            raise SystemExit(f"decode x{batch} at {depth}: neither form runs")
        form = min(taken, key=taken.get)
        return taken[form], form


def main():
    numbers = lambda text: [int(n) for n in text.split(",") if n]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="llama-1b", help="as in ./baton bench engine, or a directory with config.json")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--prefill", type=numbers, default=[512], help="lengths of prompts; 0 = none")
    parser.add_argument("--decode", type=int, default=64, help="steps that are timed; 0 = none")
    parser.add_argument("--depth", type=numbers, default=[0])
    parser.add_argument("--batch", type=numbers, default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="on the CPU; 0 = torch's own choice")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("device: cuda (expected: a GPU that torch can use, or --device cpu)")
    if options.threads:
        torch.set_num_threads(options.threads)
    engine = f"transformers {transformers.__version__}, torch {torch.__version__}"
    bench = Bench(config_of(options.shape), getattr(torch, options.dtype), options.device)

    def told(**fields):
        print(json.dumps({"engine": engine, **fields}), flush=True)

    with torch.inference_mode():
        for length in options.prefill:
            if length:
                rate = length / bench.prefill(length, options.rounds)
                told(n_prompt=length, n_gen=0, n_depth=0, avg_ts=rate)
        for depth in options.depth:
            for batch in options.batch:
                if options.decode:
                    # A depth of 0 is run as 1, as there.
                    seconds, form = bench.decode(batch, max(depth, 1), options.decode, options.rounds)
                    rate = batch * options.decode / seconds
                    if batch == 1:
                        told(n_prompt=0, n_gen=options.decode, n_depth=depth, avg_ts=rate, form=form)
                    else:
                        told(pl=batch, pp=depth, tg=options.decode, speed_tg=rate, form=form)


if __name__ == "__main__":
    main()
