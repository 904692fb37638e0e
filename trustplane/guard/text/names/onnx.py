"""OnnxFinder: names by a token classifier that the user supplies as an ONNX file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trustplane.errors import InputError
from trustplane.guard.text.hit import Hit
from trustplane.guard.text.names.labels import ENTITY_OF, Piece, aggregate, entity_of

__all__ = ["OnnxFinder"]

FILES = ("model.onnx", "tokenizer.json", "config.json")


class OnnxFinder:
    """Runs ``model.onnx`` over overlapping windows of the text; no network, nothing is written.

    ``folder``: holds ``model.onnx`` (inputs ``input_ids`` int64 (batch, tokens) and, where it has them,
    ``attention_mask`` and ``token_type_ids``; first output float (batch, tokens, labels)),
    ``tokenizer.json`` (Hugging Face tokenizers) and ``config.json`` with ``id2label``. ``labels``: types
    of the model to entities, beside ``ENTITY_OF``. ``window``: tokens at a time, with the special ones;
    None takes ``max_position_embeddings`` of the configuration, 512 at most. ``overlap``: tokens that two
    windows share, less than half a window; each token's label comes from the window in which it stands
    furthest from an edge.
    ``least``: hits below are not given. ``threads``: of onnxruntime, which a finder holds for itself.
    Safe in many threads.

    Raises:
        InputError: the extra ``ner`` is missing, a file is missing or unreadable, shapes do not fit, no
            label maps to an entity, or a number is out of range.
    """

    name = "onnx"
    version = "1"
    heavy = True

    def __init__(
        self,
        folder: str | Path,
        *,
        labels: Mapping[str, str] | None = None,
        window: int | None = None,
        overlap: int = 32,
        least: float = 0.0,
        threads: int = 1,
    ) -> None:
        try:
            import onnxruntime
            import tokenizers
        except ImportError as error:
            raise InputError("ONNX name models need an extra", hint="install trustplane[ner]") from error
        folder = Path(folder)
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise InputError(f"the model's folder lacks {', '.join(missing)}", hint=f"it needs {', '.join(FILES)}")
        if not 0.0 <= least <= 1.0 or threads < 1 or overlap < 0:
            raise InputError("least is outside 0..1, threads below 1 or overlap below 0")
        config, self._labels = _read_config(folder / "config.json")
        self._mapping = {**ENTITY_OF, **(labels or {})}
        self.entities = tuple(sorted({e for label in self._labels if (e := entity_of(label, self._mapping))}))
        if not self.entities or not set(self.entities) <= {"PERSON", "LOCATION", "ORGANIZATION"}:
            raise InputError(
                "the model's labels map to no entity, or to an unknown one", hint='labels={"PER": "PERSON"}'
            )
        try:
            self._tokenizer: Any = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises plain Exception
            raise InputError("tokenizer.json cannot be read", hint="Hugging Face tokenizers write it") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 4
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no common class
            raise InputError("model.onnx cannot be loaded", hint="onnx.checker.check_model says why") from error
        self._inputs = {value.name for value in self._session.get_inputs()}
        if "input_ids" not in self._inputs or not self._inputs <= {"input_ids", "attention_mask", "token_type_ids"}:
            raise InputError("the model's inputs are unknown", hint="input_ids, attention_mask, token_type_ids")
        limit = config.get("max_position_embeddings")
        self._window = window or min(512, limit if isinstance(limit, int) and limit > 0 else 512)
        if self._window <= self._special:
            raise InputError("the window is not longer than the special tokens", hint="window=512")
        self._overlap, self._least = min(overlap, (self._window - self._special - 1) // 2), least
        total = hashlib.sha256(repr((sorted(self._mapping.items()), self._window, overlap, least)).encode())
        for name in FILES:
            total.update(hashlib.sha256((folder / name).read_bytes()).digest())
        self.digest = "sha256:" + total.hexdigest()
        self._run([0] * (self._special + 1))

    def __repr__(self) -> str:
        return f"OnnxFinder(entities={self.entities}, digest={self.digest!r})"

    def find(self, text: str) -> Iterator[Hit]:
        """Yield the names in ``text``: disjoint, in order.

        Raises:
            InputError: the model returned another shape than it promised.
        """
        if not text:
            return
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids, offsets = encoding.ids, encoding.offsets
        best: list[tuple[int, str, float]] = [(-1, "O", 0.0)] * len(ids)
        size = self._window - self._special
        step = max(1, size - self._overlap)
        for begin in range(0, max(1, len(ids) - self._overlap), step):
            part = ids[begin : begin + size]
            for position, (label, score) in enumerate(self._classify(part)):
                left = position if begin else size
                right = len(part) - 1 - position if begin + size < len(ids) else size
                if min(left, right) > best[begin + position][0]:
                    best[begin + position] = (min(left, right), label, score)
        pieces = [
            Piece(start, end, label, score)
            for (start, end), (_, label, score) in zip(offsets, best, strict=True)
            if end > start
        ]
        for entity, start, end, score in aggregate(pieces, self._mapping, text):
            while start < end and text[start].isspace():  # byte-level tokenizers count the space before
                start += 1
            if start < end and score >= self._least:
                yield Hit(entity, start, end, round(score, 4))

    def _classify(self, ids: list[int]) -> Iterator[tuple[str, float]]:
        """Yield label and probability of each token of a window."""
        import numpy as np

        if not ids:
            return
        before, after = self._frame()
        logits = self._run([*before, *ids, *after])[len(before) : len(before) + len(ids)]
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = shifted / shifted.sum(axis=1, keepdims=True)
        for row in shares:
            top = int(row.argmax())
            yield self._labels[top], float(row[top])

    def _frame(self) -> tuple[list[int], list[int]]:
        """Return the special tokens that stand before and after a text."""
        if not self._special:
            return [], []
        encoding = self._tokenizer.encode("")
        half = (len(encoding.ids) + 1) // 2
        return encoding.ids[:half], encoding.ids[half:]

    def _run(self, ids: list[int]) -> Any:
        """Return the logits, float (tokens, labels), of one window."""
        import numpy as np

        row = np.array([ids], dtype=np.int64)
        given = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        try:
            logits = self._session.run(None, {name: given[name] for name in self._inputs})[0]
        except Exception:  # noqa: BLE001  onnxruntime's errors have no common class; their text may hold content
            raise InputError("the name model failed on its input", hint="int64 inputs of (batch, tokens)") from None
        if logits.shape != (1, len(ids), len(self._labels)) or not np.isfinite(logits).all():
            raise InputError(
                "the name model's output is not (batch, tokens, labels)", hint="config.json: id2label names each label"
            )
        return logits[0]


def _read_config(path: Path) -> tuple[dict[str, Any], list[str]]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        names = config["id2label"]
        labels = [str(names[str(number)]) for number in range(len(names))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("config.json has no id2label with numbers from 0", hint='{"id2label": {"0": "O"}}') from error
    return config, labels
