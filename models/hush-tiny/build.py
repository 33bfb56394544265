"""Build hush-tiny from nothing: tokenizer, training, export, manifest, evaluation.

`python build.py` writes artefacts/, manifest.json and evaluation.json beside itself; `--steps` and `--folder` serve
experiments. One thread, and no instructions beyond AVX2: the order of the sums, and so the weights, must not depend on
the scheduler or on the machine.
"""

import argparse
import os
from pathlib import Path

os.environ |= {"NPROC": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false --xla_cpu_max_isa=AVX2"}
os.environ |= {"TOKENIZERS_PARALLELISM": "false", "JAX_PLATFORMS": "cpu"}

STEPS = 2400
HOME = Path(__file__).resolve().parent


def main() -> None:
    """Build into the folder asked for."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=STEPS, help="training steps (default: %(default)s)")
    arguments.add_argument("--folder", type=Path, default=HOME, help="where to write (default: beside this file)")
    asked = arguments.parse_args()

    from hush_tiny import evaluate, export, manifest, tokenizer
    from hush_tiny.model import Shape, count_parameters
    from hush_tiny.train import Plan, finish, train

    shape = Shape()
    artefacts: Path = asked.folder / "artefacts"
    artefacts.mkdir(parents=True, exist_ok=True)
    words = tokenizer.train(shape.vocabulary)
    checkpoint = asked.folder / "checkpoint.pickle"
    parameters = train(shape, Plan(steps=asked.steps), words, checkpoint)
    parameters = finish(shape, parameters, words, checkpoint)
    for kept in asked.folder.glob("checkpoint.*"):
        kept.unlink()
    export.export(artefacts, parameters, shape, words)
    described = manifest.describe(
        artefacts, parameters=count_parameters(parameters), context_tokens=shape.context_tokens
    )
    manifest.write(asked.folder / "manifest.json", described)
    score = evaluate.evaluate(artefacts / export.GGUF_FILE, context_tokens=shape.context_tokens)
    evaluate.write(asked.folder / "evaluation.json", score)


if __name__ == "__main__":
    main()
