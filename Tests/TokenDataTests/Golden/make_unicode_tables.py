"""Writes Sources/TokenData/BytePairs/UnicodeTables.swift with what the `tokenizers` package knows of Unicode: the general
categories of its regular expressions (Oniguruma), the digits of its Digits (Rust's library), and the normalisation of its
normalizers, which are all of different versions.

Run with the Python of deploy/python.sh: .venv/bin/python Tests/TokenDataTests/Golden/make_unicode_tables.py
"""
import itertools
import pathlib
import textwrap
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = (
    "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn").split()
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcd"
SURROGATES = range(0xD800, 0xE000)
SCALARS = [value for value in range(0x110000) if value not in SURROGATES]


def members(expression):
    """The scalars that match."""
    splitter = pre_tokenizers.Split(Regex(f"{expression}+"), "removed", invert=True)
    found = set()
    for start in range(0, len(SCALARS), 8192):
        text = "".join(map(chr, SCALARS[start:start + 8192]))
        for piece, _ in splitter.pre_tokenize_str(text):
            found.update(map(ord, piece))
    return found


def category_runs():
    categories = {value: "Cs" for value in SURROGATES}
    for name in CATEGORIES:
        if name != "Cs":
            for value in members(rf"\p{{{name}}}"):
                assert value not in categories, hex(value)
                categories[value] = name
    assert len(categories) == 0x110000
    # What SplitPattern takes these to be.
    for major in "LMNPSZ":
        assert members(rf"\p{{{major}}}") == {v for v in SCALARS if categories[v][0] == major}, major
    assert members(r"\s") == {
        *range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
    assert members(r"\d") == {v for v in SCALARS if categories[v] == "Nd"}
    runs = []
    for name, run in itertools.groupby(range(0x110000), categories.__getitem__):
        length = len(list(run))
        runs.append(LETTERS[CATEGORIES.index(name)] + (str(length) if length > 1 else ""))
    return runs


def more_digits():
    """What Digits takes besides \\p{N}."""
    splitter = pre_tokenizers.Digits(individual_digits=True)
    digits = set()
    for value in SCALARS:
        if len(splitter.pre_tokenize_str("a" + chr(value) + "a")) == 3:
            digits.add(value)
    numbers = members(r"\p{N}")
    assert numbers <= digits
    return runs_of(sorted(digits - numbers))


def runs_of(values):
    """Hexadecimal digits of the first and last of values that follow one another."""
    runs = []
    for _, run in itertools.groupby(enumerate(values), lambda pair: pair[1] - pair[0]):
        run = [value for _, value in run]
        runs.append(f"{run[0]:X}" + (f"-{run[-1]:X}" if len(run) > 1 else ""))
    return runs


def decompositions():
    composer, decomposer = normalizers.NFC(), normalizers.NFD()
    entries = []
    for value in SCALARS:
        parts = decomposer.normalize_str(chr(value))
        if parts == chr(value) or 0xAC00 <= value < 0xD7A4:
            continue
        composed = composer.normalize_str(chr(value))
        assert composed == chr(value) or composed == composer.normalize_str(parts)
        entries.append(("" if composed == chr(value) else "!") + f"{value:X}=" + "+".join(f"{ord(p):X}" for p in parts))
    return entries


def combining_runs():
    """Classes are Unicode's, which never change, of the scalars that the package puts in order."""
    decomposer = normalizers.NFD()
    # U+0334 has class 1, which is the lowest; U+0345 has 240, the highest. q composes with neither.
    classes = {}
    for value in SCALARS:
        mark = chr(value)
        if decomposer.normalize_str(mark) != mark:
            continue
        after = decomposer.normalize_str("q" + mark + "\u0334") != "q" + mark + "\u0334"
        before = decomposer.normalize_str("q\u0345" + mark) != "q\u0345" + mark
        if after or before:
            assert unicodedata.combining(mark), f"Python's Unicode {unicodedata.unidata_version} lacks {value:X}"
            classes[value] = unicodedata.combining(mark)
    by_class = {}
    for value, number in classes.items():
        by_class.setdefault(number, []).append(value)
    return [f"{run}={number}" for number in sorted(by_class) for run in runs_of(sorted(by_class[number]))]


def literal(name, words, separator):
    text = separator.join(words)
    lines = textwrap.wrap(text, 116) if separator else [text[i:i + 116] for i in range(0, len(text), 116)]
    return [f'    static let {name} = """', *("        " + line for line in lines), '        """']


def main():
    output = pathlib.Path(__file__).parents[3] / "Sources/TokenData/BytePairs/UnicodeTables.swift"
    lines = [
        "// Made by Tests/TokenDataTests/Golden/make_unicode_tables.py: what the Python package tokenizers",
        f"// {tokenizers.__version__} knows of Unicode. Not to be edited, nor formatted.",
        "",
        "// swift-format-ignore-file",
        "",
        "/// Packed; `UnicodeTables+Reading.swift` says how.",
        "enum UnicodeTables {",
        *literal("categoryRuns", category_runs(), ""),
        "",
        *literal("moreDigits", more_digits(), " "),
        "",
        *literal("combiningRuns", combining_runs(), " "),
        "",
        *literal("fullDecompositions", decompositions(), " "),
        "}",
    ]
    output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
