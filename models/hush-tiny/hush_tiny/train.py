"""Training: a fixed seed and a fixed number of steps, one thread, so that the same machine gives the same weights.

Matrices are trained with Muon, embedding and norms with Adam; the rate warms up, stays, and falls to zero.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, muon
from tokenizers import Tokenizer

from hush_tiny import batches
from hush_tiny.corpus import sampling
from hush_tiny.model import Parameters, Shape, initialise, logits

Step = Callable[
    [Parameters, optax.OptState, jax.Array, jax.Array, jax.Array], tuple[Parameters, optax.OptState, jax.Array]
]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train; the rates were chosen by short runs."""

    steps: int
    rehearsal_steps: int = 200
    warm_up_steps: int = 30
    cool_down_steps: int = 900
    seed: int = 7
    muon_rate: float = 0.02
    adam_rate: float = 0.004
    report_every_steps: int = 50


FINISHING = (
    (
        Plan(1000, rehearsal_steps=0, cool_down_steps=970, seed=11, muon_rate=0.008, adam_rate=0.0016),
        sampling.FINISHING,
    ),
    (Plan(350, rehearsal_steps=0, cool_down_steps=320, seed=12, muon_rate=0.006, adam_rate=0.0012), sampling.LAST),
)
"""The runs after the first: each starts from the bf16 weights before it with a fresh optimiser, so each can be run alone."""
FINISHING_CYCLE = (batches.SHORT, batches.SHORT, batches.MIDDLE, batches.SHORT)
DECISIVE = 4.0


@dataclass
class Progress:
    """Everything that the next step depends on."""

    step: int
    parameters: Parameters
    state: optax.OptState
    packer: batches.Packer


def train(shape: Shape, plan: Plan, tokenizer: Tokenizer, checkpoint: Path) -> Parameters:
    """Train a model from nothing, or on from a checkpoint of the same plan, and return its parameters."""
    parameters = initialise(shape, jax.random.key(plan.seed))
    return _run(shape, plan, batches.Packer(tokenizer, plan.seed), parameters, checkpoint)


def finish(shape: Shape, parameters: Parameters, tokenizer: Tokenizer, checkpoint: Path) -> Parameters:
    """Train on through the runs of `FINISHING`; each has a checkpoint of its own."""
    for number, (plan, mix) in enumerate(FINISHING, 2):
        rounded = {name: array.astype(jnp.bfloat16).astype(jnp.float32) for name, array in parameters.items()}
        packer = batches.Packer(tokenizer, plan.seed, mix=mix, decisive=DECISIVE)
        parameters = _run(shape, plan, packer, rounded, checkpoint.with_suffix(f".{number}"))
    return parameters


def _run(shape: Shape, plan: Plan, packer: batches.Packer, parameters: Parameters, checkpoint: Path) -> Parameters:
    optimiser = _optimiser(plan, parameters)
    step = _step(shape, optimiser)
    if checkpoint.exists():
        progress = Progress(**pickle.loads(checkpoint.read_bytes()))
    else:
        progress = Progress(0, parameters, optimiser.init(parameters), packer)
    losses: list[jax.Array] = []
    while progress.step < plan.steps:
        progress.step += 1
        batch = _batch(progress, plan)
        arrays = (batch.tokens, batch.segments, batch.weights)
        progress.parameters, progress.state, loss = step(progress.parameters, progress.state, *arrays)
        losses.append(loss)
        if progress.step % plan.report_every_steps == 0:
            print(f"step {progress.step} of {plan.steps}: loss {sum(map(float, losses)) / len(losses):.4f}", flush=True)
            losses.clear()
            checkpoint.write_bytes(pickle.dumps(jax.device_get(progress.__dict__)))
    return progress.parameters


def _batch(progress: Progress, plan: Plan) -> batches.Batch:
    if progress.step <= plan.rehearsal_steps:
        return progress.packer.rehearsal(batches.SHORT)
    if plan.rehearsal_steps == 0:
        return progress.packer.batch(FINISHING_CYCLE[progress.step % len(FINISHING_CYCLE)])
    return progress.packer.batch(batches.CYCLE[progress.step % len(batches.CYCLE)])


def _optimiser(plan: Plan, parameters: Parameters) -> optax.GradientTransformation:
    def schedule(peak: float) -> optax.Schedule:
        parts = [
            optax.linear_schedule(0.0, peak, plan.warm_up_steps),
            optax.constant_schedule(peak),
            optax.linear_schedule(peak, 0.0, plan.cool_down_steps),
        ]
        return optax.join_schedules(parts, [plan.warm_up_steps, plan.steps - plan.cool_down_steps])

    each_layer = MuonDimensionNumbers(reduction_axis=1, output_axis=2)
    matrices = {name: each_layer if array.ndim == 3 else None for name, array in parameters.items()}
    return muon(
        schedule(plan.muon_rate),
        adam_learning_rate=schedule(plan.adam_rate),
        adam_b2=0.98,
        weight_decay=0.01,
        muon_weight_dimension_numbers=matrices,
    )


def _step(shape: Shape, optimiser: optax.GradientTransformation) -> Step:
    def loss_of(parameters: Parameters, tokens: jax.Array, segments: jax.Array, weights: jax.Array) -> jax.Array:
        guesses = logits(parameters, shape, tokens, segments)[:, :-1]
        surprise = optax.softmax_cross_entropy_with_integer_labels(guesses, tokens[:, 1:])
        return jnp.sum(surprise * weights[:, 1:]) / jnp.sum(weights[:, 1:])

    def step(
        parameters: Parameters, state: optax.OptState, tokens: jax.Array, segments: jax.Array, weights: jax.Array
    ) -> tuple[Parameters, optax.OptState, jax.Array]:
        loss, gradient = jax.value_and_grad(loss_of)(parameters, tokens, segments, weights)
        updates, state = optimiser.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, loss

    return jax.jit(step, donate_argnums=(0, 1))
