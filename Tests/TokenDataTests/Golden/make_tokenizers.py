"""Writes what Python's `tokenizers` makes of texts: sample.txt, base.json (a tokenizer.json), golden.json, beside this file.

golden.json has variants of the base tokenizer, each with the number and CRC-32 of the ids of some texts, and of corpora that the tests
build as `rows` and `contexts` here: every Unicode scalar, in every plane.

Run with the Python of deploy/python.sh: .venv/bin/python Tests/TokenDataTests/Golden/make_tokenizers.py
"""
import json
import pathlib
import random
import struct
import zlib

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

FOLDER = pathlib.Path(__file__).parent
BLOCK = 4096

WORDS = """the and of to a in that it is was for on with as be at by this have from or had not but what all were when we there
can an your which their said if do will each about how up out them then she many some so these would other into has more her two
like him see time could no make than first been its who now people my made over did down only way find use may water long little
very after words called just where most know don't I'll you've we're it's he'd I'm THEY'RE don’t 3 14 159 2653 58979 1,000 $9.99
print(x) def f(a, b): return a+b // /* */ <html> {"key": [1, 2]} foo_bar fooBar HTTPServer x86-64 user@example.com https://a.b/c?d=e#f
der die und Straße größer naïve café résumé señor français Ελληνικά καλημέρα κόσμε здравствуй мир это язык שלום עולם مرحبا بالعالم
फिर मिलेंगे नमस्ते दुनिया สวัสดีชาวโลก 你好世界 我们的 机器学习 混合专家 東京 日本語 カタカナ ひらがな 안녕하세요 세계 ქართული հայերեն አማርኛ
👩‍👩‍👧‍👦 👍🏽 🇨🇭 ❤️ 🏳️‍🌈 🧠 ∀x∈ℝ ½ Ⅻ ² ³ ™ – — … « » “ ” ‘ ’ e\u0301 o\u0308 \u1100\u1161\u11a8""".split()

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
CL100K = (
    r"(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
).replace("(?i:[sdmt]|ll|ve|re)", "'(?i:s|d|m|t|ll|ve|re)")
# As in the published file, which has the ends of lines themselves.
DEEPSEEK = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+"""
    r"|\s+(?!\S)|\s+").replace(r"\r\n", "\r\n")


def byte_level(prefix=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*stages):
    return {"type": "Sequence", "pretokenizers": list(stages)}


def added(base, *tokens):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return [{"id": base + index, "content": content, **flags, **changes}
            for index, (content, changes) in enumerate(tokens)]


def variants(size):
    """What each changes of the base; "legacy_merges" writes merges as strings."""
    plain = {"normalized": True, "special": False}
    spaces = [(" " * count, plain) for count in range(12, 1, -1)]
    return {
        "gpt2": {"pre_tokenizer": byte_level(regex=True), "added_tokens": added(size, ("<|endoftext|>", {}))},
        "gpt2-prefix": {
            "pre_tokenizer": byte_level(prefix=True, regex=True), "legacy_merges": True,
            "added_tokens": added(size, ("<s>", {}), ("<mask>", {"lstrip": True}))},
        "llama3": {
            "pre_tokenizer": sequence(split(LLAMA3), byte_level()), "ignore_merges": True,
            "added_tokens": added(size, ("<|begin_of_text|>", {}), ("<|end_of_text|>", {}), ("<|eot_id|>", {})),
            "post_processor": {"type": "Sequence", "processors": [byte_level(), {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}},
                           {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<|begin_of_text|>": {
                    "id": "<|begin_of_text|>", "ids": [size], "tokens": ["<|begin_of_text|>"]}}}]}},
        "qwen2": {
            "normalizer": {"type": "NFC"}, "pre_tokenizer": sequence(split(QWEN2), byte_level()),
            "added_tokens": added(size, ("<|endoftext|>", {}), ("<|im_start|>", {}), ("<think>", {"special": False}))},
        "neox": {
            "normalizer": {"type": "NFC"}, "pre_tokenizer": byte_level(regex=True),
            "added_tokens": added(
                size, *spaces, ("<|padding|>", {}), ("café", plain), ("cafe\u0301s", plain),
                ("word", {"single_word": True}), ("<right>", {"rstrip": True}), ("<both>", {"rstrip": True, "lstrip": True}),
                ("ag\u00e9", {"normalized": False, "special": False}), ("<|pad", {}), ("\n\n\n", plain))},
        "deepseek": {
            "pre_tokenizer": sequence(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), byte_level())},
        "o200k": {"pre_tokenizer": sequence(split(O200K), byte_level())},
        "cl100k": {"pre_tokenizer": sequence(split(CL100K, "Removed", True), byte_level())},
        "digits": {
            "pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, byte_level(regex=True)),
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}},
        "numbers": {
            "pre_tokenizer": sequence(
                {"type": "Digits", "individual_digits": False}, split("(", kind="String"), split("-", "Removed", kind="String"),
                byte_level(prefix=True, regex=True))},
        "whole": {"pre_tokenizer": byte_level()},
    }


def sample():
    """Text in many scripts, of lines and paragraphs."""
    chooser = random.Random(1)
    text = ""
    while len(text) < 24000:
        text += chooser.choice(WORDS)
        text += chooser.choices([" ", "\n", ", ", ".\n\n", "  ", "\t", "\r\n", ""], [60, 6, 6, 3, 2, 1, 1, 3])[0]
    return text


def rows(block):
    """The scalars of a block, 64 in a row."""
    scalars = [v for v in range(block * BLOCK, (block + 1) * BLOCK) if not 0xD800 <= v < 0xE000]
    return "".join("".join(map(chr, scalars[i:i + 64])) + "\n" for i in range(0, len(scalars), 64))


def contexts(block):
    """Each scalar among others."""
    scalars = [v for v in range(block * BLOCK, (block + 1) * BLOCK) if not 0xD800 <= v < 0xE000]
    return "".join(f" {c}x{c}{c}9'{c}e\u0301{c} " for c in map(chr, scalars))


def texts():
    chooser = random.Random(2)
    result = [
        "", " ", "\n", "a", "\u0000", "  leading and trailing  ", "a" * 300, " " * 300 + "x", "\n" * 200, "ab" * 200,
        "0123456789" * 20, "don't DON'T don’t 'S 'ſ 'Re I'LL we'Ve it'd'm", "tab\tand\x0bcontrol\x01\x7f\x85\u2028\u2029\ufeff",
        "line\r\nline\r\n\r\n  line\n \n\n", "😀😃👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇨🇭🇦🇶1️⃣", "שָׁלוֹם ‏RTL‎ مرحبا", "각 각 \u1100\u1161\u11a8 \uac00\u11a8 \u1161\u11a8",
        "e\u0301 e\u0323\u0301 e\u0301\u0323 \u0301 q\u0345\u0334\u0327 \u212b \u2126 \u0958 \u0344 \ufb1d \U0001d15e",
        "\u09c7\u09be \u0b47\u0b56 \u1025\u102e \U00011131\U00011127 \U00011347\U0001133e \U000114b9\U000114ba "
        "\U00016d67\U00016d67 \U00011935\U00011930", "\U0010ffff\U000e0001\U000f0000\ufffe\uffff\ufffd",
        "x<|endoftext|>y<|endoftext|><|endoftext|> z <s>a <mask> b  <mask><mask>", "<|begin_of_text|>Hello<|eot_id|>\n<|end",
        "<|im_start|>user\nHi<|im_end|> <think>hm</think>", "      twelve            spaces                         more",
        "word words sword word, word\nword1 wörd word_ word", "a <right>   b <both>  c  <both><right>  \n x", "<|padding|><|pad|><|paddin",
        "café cafe\u0301 cafés cafe\u0301s agé age\u0301", "1(2)((3-4--5 x-y", "中文，没有空格。日本語のテキスト、カタカナ！ 한국어",
        "word\u0301 \u0301word ‿word word‿ word\u200d", "ß SS ﬁ ﬀ İ ı K Å",
    ]
    alphabets = [
        "ab 1'\n", " \t\r\n\u00a0\u3000x", "aB1 .,-()'\"\\/_", "éäß\u0301\u0308eEaAoO q", "中文。，あア한글ㄱ\u1100\u1161\u11a8", "😀👍\U0001f3fd\u200d\ufe0f❤🇨🇭",
        "שלום مرحبا\u064b\u0651 123٤٥", "नमस्ते\u094d\u093c क", "".join(map(chr, range(0x20, 0x7F))),
    ]
    for index in range(90):
        alphabet = alphabets[index % len(alphabets)]
        result.append("".join(chooser.choice(alphabet) for _ in range(chooser.randint(1, 120))))
    for _ in range(40):
        result.append("".join(chooser.choice(WORDS) + chooser.choice(["", " ", "  ", "\n", "'s "]) for _ in range(15)))
    for _ in range(40):
        scalars = [chooser.randrange(0x110000) for _ in range(40)] + [chooser.randrange(0x3000) for _ in range(40)]
        chooser.shuffle(scalars)
        result.append("".join(chr(v) for v in scalars if not 0xD800 <= v < 0xE000))
    return result


def summary(ids):
    return [len(ids), zlib.crc32(struct.pack(f"<{len(ids)}I", *ids))]


def trained(text, size, frequency, regex=True):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    tokenizer.post_processor = processors.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=size, min_frequency=frequency, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tokenizer


def main():
    text = sample()
    (FOLDER / "sample.txt").write_bytes(text.encode())
    # Words that are lines: its merges go across whatever the variants split at.
    lines = Tokenizer(models.BPE())
    lines.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    lines.decoder = decoders.ByteLevel()
    lines.train_from_iterator(text.splitlines(keepends=True), trainers.BpeTrainer(
        vocab_size=1000, min_frequency=2, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    base = json.loads(lines.to_str())
    (FOLDER / "base.json").write_text(json.dumps(base, ensure_ascii=False, separators=(",", ":")) + "\n")

    golden = {"tokenizers": tokenizers.__version__, "texts": texts(), "variants": {}, "training": []}
    for name, changes in variants(len(base["model"]["vocab"])).items():
        file = {**base, "model": dict(base["model"])}
        for key, value in changes.items():
            if key == "ignore_merges":
                file["model"][key] = value
            elif key == "legacy_merges":
                file["model"]["merges"] = [" ".join(pair) for pair in base["model"]["merges"]]
            else:
                file[key] = value
        tokenizer = Tokenizer.from_str(json.dumps(file))

        def ids(text, special=False):
            return tokenizer.encode(text, add_special_tokens=special).ids

        encoded = [ids(text) for text in golden["texts"]]
        golden["variants"][name] = {
            "changes": changes,
            "texts": [summary(ids) for ids in encoded],
            "decoded": [zlib.crc32(tokenizer.decode(ids, skip_special_tokens=False).encode()) for ids in encoded],
            "special": ids("Hello", special=True),
            "sample": summary(ids(text)),
            "rows": [summary(ids(rows(block))) for block in range(0x110000 // BLOCK)],
            "contexts": [summary(ids(contexts(block))) for block in range(0x20000 // BLOCK)],
        }
    for size, frequency in [(256, 0), (300, 0), (1000, 2), (20000, 0), (20000, 3)]:
        tokenizer = trained(text, size, frequency)
        model = json.loads(tokenizer.to_str())["model"]
        golden["training"].append({
            "vocabulary_size": size, "minimum_frequency": frequency, "tokens": len(model["vocab"]),
            "merges": len(model["merges"]),
            "merges_crc": zlib.crc32("\n".join(" ".join(pair) for pair in model["merges"]).encode()),
            "vocabulary_crc": zlib.crc32("\n".join(model["vocab"]).encode()),
            "ids": summary(tokenizer.encode(text).ids)})
    (FOLDER / "golden.json").write_text(json.dumps(golden, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
