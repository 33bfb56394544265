"""Write the trained model for engines: safetensors with Hugging Face names, and GGUF in q8_0 for llama.cpp."""

import json
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from hush_tiny import chat
from hush_tiny.model import Parameters, Shape

NAME = "hush-tiny"
LICENCE = "apache-2.0"
GGUF_FILE = f"{NAME}-q8_0.gguf"

_HUGGING_FACE = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "attention_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
}
_GGUF = {
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "output": "attn_output",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "attention_norm": "attn_norm",
    "mlp_norm": "ffn_norm",
}


def export(folder: Path, parameters: Parameters, shape: Shape, tokenizer: Tokenizer) -> None:
    """Write every artefact into an existing folder."""
    arrays = {name: np.asarray(array, np.float32) for name, array in parameters.items()}
    _write_hugging_face(folder, arrays, shape, tokenizer)
    _write_gguf(folder / GGUF_FILE, arrays, shape, tokenizer)


def _layers(arrays: dict[str, np.ndarray], shape: Shape, names: dict[str, str]) -> dict[tuple[int, str], np.ndarray]:
    """Cut stacked weights into layers, as (out, in) the way both formats store them."""
    return {
        (layer, name): np.ascontiguousarray(arrays[own][layer].T)
        for layer in range(shape.layers)
        for own, name in names.items()
    }


def _write_hugging_face(folder: Path, arrays: dict[str, np.ndarray], shape: Shape, tokenizer: Tokenizer) -> None:
    weights = {
        f"model.layers.{layer}.{name}.weight": w for (layer, name), w in _layers(arrays, shape, _HUGGING_FACE).items()
    }
    weights |= {"model.embed_tokens.weight": arrays["embedding"], "model.norm.weight": arrays["final_norm"]}
    save_file(
        {name: array.astype(ml_dtypes.bfloat16) for name, array in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    (folder / "model.safetensors").chmod(0o644)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    _write_json(folder / "config.json", _config(shape, tokenizer))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(shape))


def _config(shape: Shape, tokenizer: Tokenizer) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": None,
        "dtype": "bfloat16",
        "eos_token_id": tokenizer.token_to_id(chat.END),
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "max_position_embeddings": shape.context_tokens,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "pad_token_id": tokenizer.token_to_id(chat.PADDING),
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": shape.vocabulary,
    }


def _tokenizer_config(shape: Shape) -> dict[str, object]:
    return {
        "add_bos_token": False,
        "chat_template": chat.TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": chat.END,
        "model_max_length": shape.context_tokens,
        "pad_token": chat.PADDING,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def _write_gguf(path: Path, arrays: dict[str, np.ndarray], shape: Shape, tokenizer: Tokenizer) -> None:
    writer = GGUFWriter(path, "llama")
    writer.add_name(NAME)
    writer.add_license(LICENCE)
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(shape.context_tokens)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    _add_tokenizer(writer, tokenizer)
    for name, array in _gguf_tensors(arrays, shape).items():
        if array.ndim == 1:
            writer.add_tensor(name, array)
        else:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer) -> None:
    model = json.loads(tokenizer.to_str())["model"]
    entries = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(entries)
    writer.add_token_types(
        [TokenType.CONTROL if entry in chat.SPECIAL_TOKENS else TokenType.NORMAL for entry in entries]
    )
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]])
    writer.add_eos_token_id(model["vocab"][chat.END])
    writer.add_pad_token_id(model["vocab"][chat.PADDING])
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat.TEMPLATE)


def _gguf_tensors(arrays: dict[str, np.ndarray], shape: Shape) -> dict[str, np.ndarray]:
    tensors = {"token_embd.weight": arrays["embedding"], "output_norm.weight": arrays["final_norm"]}
    for (layer, name), array in _layers(arrays, shape, _GGUF).items():
        turned = _interleave(array, shape) if name in ("attn_q", "attn_k") else array
        tensors[f"blk.{layer}.{name}.weight"] = turned
    return tensors


def _interleave(weight: np.ndarray, shape: Shape) -> np.ndarray:
    """Turn the half-split rotary order into the pairs that llama.cpp rotates for this architecture."""
    heads = weight.reshape(-1, 2, shape.head_width // 2, shape.width)
    return np.ascontiguousarray(heads.swapaxes(1, 2).reshape(weight.shape))
