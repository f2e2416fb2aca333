"""Prints the ids of the texts in a JSON file: live.py TOKENIZER.json TEXTS.json"""
import json
import sys

from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(sys.argv[1])
with open(sys.argv[2], encoding="utf-8") as file:
    print(json.dumps([tokenizer.encode(text, add_special_tokens=False).ids for text in json.load(file)]))
