"""Learns byte-level BPE from a text and encodes it with `moe-ctl data prepare` and with the Python package `tokenizers`, beside each
other, and says whether both made the same.

    .venv/bin/python Benchmarks/tokenizer.py input.txt [--vocabulary-size 4096] [--rounds 5] [--programs .build/release]
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import machine

PACKAGE = """
import sys, struct
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
text = open(sys.argv[1], encoding="utf-8", newline="").read()
if len(sys.argv) > 4:
    tokenizer = Tokenizer.from_file(sys.argv[4])
else:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=int(sys.argv[3]), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.save(sys.argv[2] + "/tokenizer.json")
ids = tokenizer.encode(text).ids
open(sys.argv[2] + "/train.bin", "wb").write(struct.pack(f"<{len(ids)}H", *ids))
"""


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("text")
    parser.add_argument("--vocabulary-size", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--programs", default=".build/release")
    options = parser.parse_args()
    machine.forget_settings()
    size = str(options.vocabulary_size)
    megabytes = pathlib.Path(options.text).stat().st_size / 1e6
    measured = {name: ([], []) for name in ("learn and encode", "encode")}
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, encoded = (pathlib.Path(folder) / name for name in ("ours", "theirs", "encoded"))
        theirs.mkdir()

        def prepare(output, *tokenizer):
            return [f"{options.programs}/moe-ctl", "data", "prepare", options.text, "--output", str(output),
                    "--validation-fraction", "0", "--tokenizer", *tokenizer]

        python = [sys.executable, "-c", PACKAGE, options.text, str(theirs), size]
        for _ in range(options.rounds):
            measured["learn and encode"][0].append(seconds(prepare(ours, "bpe", "--vocabulary-size", size)))
            measured["learn and encode"][1].append(seconds(python))
            measured["encode"][0].append(seconds(prepare(encoded, str(theirs / "tokenizer.json"))))
            measured["encode"][1].append(seconds([*python, str(theirs / "tokenizer.json")]))
        models = [json.loads((path / "tokenizer.json").read_text())["model"] for path in (ours, theirs)]
        tokens = [(path / "train.bin").read_bytes() for path in (ours, encoded, theirs)]
    print(f"{megabytes:.1f} MB, vocabulary {size}, whole processes, medians of {options.rounds}; {machine._processor()}")
    print(f"{'':18} {'moe-ctl':>10} {'tokenizers':>10} {'ratio':>6}")
    for name, runs in measured.items():
        here, there = map(statistics.median, runs)
        print(f"{name:18} {here:8.2f} s {there:8.2f} s {there / here:6.1f}")
    print(f"the same vocabulary: {models[0] == models[1]}; the same {len(tokens[0]) // 2} tokens: {tokens[0] == tokens[1] == tokens[2]}")


if __name__ == "__main__":
    main()
