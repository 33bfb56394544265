"""Training: a fixed seed and a fixed number of steps, one thread, so that the same machine gives the same weights.

Matrices are trained with Muon, embedding and norms with Adam; the rate warms up, stays, and falls to zero.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers, muon
from tokenizers import Tokenizer

from hush_tiny import batches
from hush_tiny.model import Parameters, Shape, initialise, logits

Step = Callable[
    [Parameters, optax.OptState, jax.Array, jax.Array, jax.Array], tuple[Parameters, optax.OptState, jax.Array]
]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train; the rates were chosen by short runs."""

    steps: int
    seed: int = 7
    muon_rate: float = 0.02
    adam_rate: float = 0.004
    warm_up_share: float = 0.02
    cool_down_share: float = 0.5
    report_every_steps: int = 50


def train(shape: Shape, plan: Plan, tokenizer: Tokenizer) -> Parameters:
    """Train a model from nothing and return its parameters, printing the mean loss now and then."""
    parameters = initialise(shape, jax.random.key(plan.seed))
    optimiser = _optimiser(plan, parameters)
    state = optimiser.init(parameters)
    step = _step(shape, optimiser)
    packer = batches.Packer(tokenizer, plan.seed)
    losses: list[jax.Array] = []
    for number in range(1, plan.steps + 1):
        batch = packer.batch(batches.CYCLE[number % len(batches.CYCLE)])
        parameters, state, loss = step(parameters, state, batch.tokens, batch.segments, batch.learned)
        losses.append(loss)
        if number % plan.report_every_steps == 0:
            print(f"step {number} of {plan.steps}: loss {sum(map(float, losses)) / len(losses):.4f}", flush=True)
            losses.clear()
    return parameters


def _optimiser(plan: Plan, parameters: Parameters) -> optax.GradientTransformation:
    def schedule(peak: float) -> optax.Schedule:
        warm, cool = int(plan.steps * plan.warm_up_share), int(plan.steps * plan.cool_down_share)
        parts = [
            optax.linear_schedule(0.0, peak, warm),
            optax.constant_schedule(peak),
            optax.linear_schedule(peak, 0.0, cool),
        ]
        return optax.join_schedules(parts, [warm, plan.steps - cool])

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
    def loss_of(parameters: Parameters, tokens: jax.Array, segments: jax.Array, learned: jax.Array) -> jax.Array:
        guesses = logits(parameters, shape, tokens, segments)[:, :-1]
        surprise = optax.softmax_cross_entropy_with_integer_labels(guesses, tokens[:, 1:])
        return jnp.sum(surprise * learned[:, 1:]) / jnp.sum(learned[:, 1:])

    def step(
        parameters: Parameters, state: optax.OptState, tokens: jax.Array, segments: jax.Array, learned: jax.Array
    ) -> tuple[Parameters, optax.OptState, jax.Array]:
        loss, gradient = jax.value_and_grad(loss_of)(parameters, tokens, segments, learned)
        updates, state = optimiser.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, loss

    return jax.jit(step, donate_argnums=(0, 1))
