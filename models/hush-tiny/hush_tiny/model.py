"""A Llama in JAX: the parameters, and the logits of packed rows of tokens.

Projections are kept as (layers, in, out) so that one scan runs every layer. Rotary positions use the half-split
convention of the Hugging Face Llama; `export.py` permutes Q and K for GGUF. The head is tied to the embedding.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

Parameters = dict[str, jax.Array]


@dataclass(frozen=True)
class Shape:
    """The sizes of the model; every row length is a multiple of 32, as q8_0 blocks demand.

    Two KV heads and four layers let tests split the model in two by tensors and in up to four by layers; heads of 64
    are what GPU attention kernels support.
    """

    vocabulary: int = 1536
    width: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_width: int = 64
    hidden: int = 384
    context_tokens: int = 1024
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5


def initialise(shape: Shape, key: jax.Array) -> Parameters:
    """Draw the first parameters, float32, from one PRNG key."""
    sizes = {
        "embedding": (shape.vocabulary, shape.width),
        "query": (shape.layers, shape.width, shape.heads * shape.head_width),
        "key": (shape.layers, shape.width, shape.kv_heads * shape.head_width),
        "value": (shape.layers, shape.width, shape.kv_heads * shape.head_width),
        "output": (shape.layers, shape.heads * shape.head_width, shape.width),
        "gate": (shape.layers, shape.width, shape.hidden),
        "up": (shape.layers, shape.width, shape.hidden),
        "down": (shape.layers, shape.hidden, shape.width),
    }
    keys = jax.random.split(key, len(sizes))
    drawn = {name: 0.02 * jax.random.normal(k, size) for k, (name, size) in zip(keys, sizes.items(), strict=True)}
    norms = {"attention_norm": (shape.layers, shape.width), "mlp_norm": (shape.layers, shape.width)}
    ones = {name: jnp.ones(size) for name, size in norms.items()} | {"final_norm": jnp.ones(shape.width)}
    return drawn | ones


def count_parameters(parameters: Parameters) -> int:
    """Count the numbers in the model; the tied head counts once."""
    return sum(array.size for array in parameters.values())


def logits(parameters: Parameters, shape: Shape, tokens: jax.Array, segments: jax.Array) -> jax.Array:
    """Return (rows, length, vocabulary) logits for (rows, length) tokens.

    A position sees earlier positions of its own segment only, so conversations packed in one row do not mix.
    """
    length = tokens.shape[1]
    causal = jnp.tril(jnp.ones((length, length), bool))
    visible = causal & (segments[:, :, None] == segments[:, None, :])
    bias = jnp.where(visible, 0.0, -1e9)[:, None]
    rotation = _rotation(shape, length)
    layer_names = [name for name, array in parameters.items() if name not in ("embedding", "final_norm")]

    def layer(stream: jax.Array, weights: Parameters) -> tuple[jax.Array, None]:
        stream = stream + _attention(
            weights, shape, _normalise(stream, weights["attention_norm"], shape), rotation, bias
        )
        inner = _normalise(stream, weights["mlp_norm"], shape)
        gated = jax.nn.silu(inner @ weights["gate"]) * (inner @ weights["up"])
        return stream + gated @ weights["down"], None

    stacked = {name: parameters[name] for name in layer_names}
    stream, _ = jax.lax.scan(layer, parameters["embedding"][tokens], stacked, unroll=shape.layers)
    return _normalise(stream, parameters["final_norm"], shape) @ parameters["embedding"].T


def _attention(
    weights: Parameters, shape: Shape, inner: jax.Array, rotation: tuple[jax.Array, jax.Array], bias: jax.Array
) -> jax.Array:
    rows, length, _ = inner.shape
    group = shape.heads // shape.kv_heads

    def split(array: jax.Array) -> jax.Array:
        return array.reshape(rows, length, -1, shape.head_width).swapaxes(1, 2)

    query = _rotate(split(inner @ weights["query"]), rotation)
    key = _rotate(split(inner @ weights["key"]), rotation)
    value = split(inner @ weights["value"])
    grouped = query.reshape(rows, shape.kv_heads, group * length, shape.head_width)
    scores = (grouped @ key.swapaxes(2, 3)).reshape(rows, shape.heads, length, length) / shape.head_width**0.5
    shares = jax.nn.softmax(scores + bias, axis=-1).reshape(rows, shape.kv_heads, group * length, length)
    mixed = (shares @ value).reshape(rows, shape.heads, length, shape.head_width)
    return mixed.swapaxes(1, 2).reshape(rows, length, -1) @ weights["output"]


def _normalise(stream: jax.Array, gain: jax.Array, shape: Shape) -> jax.Array:
    return gain * stream * jax.lax.rsqrt(jnp.mean(stream**2, axis=-1, keepdims=True) + shape.norm_epsilon)


def _rotation(shape: Shape, length: int) -> tuple[jax.Array, jax.Array]:
    half = shape.head_width // 2
    frequencies = shape.rope_theta ** (-jnp.arange(half) / half)
    angles = jnp.arange(length)[:, None] * frequencies
    return jnp.cos(angles), jnp.sin(angles)


def _rotate(vectors: jax.Array, rotation: tuple[jax.Array, jax.Array]) -> jax.Array:
    cosine, sine = rotation
    first, second = jnp.split(vectors, 2, axis=-1)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
