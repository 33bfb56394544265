"""The recipe of hush-tiny: corpus, tokenizer, model, training, export and evaluation.

Run `build.py` beside this package; nothing in `src/hushnet` imports it. The corpus needs only the standard library.
"""
