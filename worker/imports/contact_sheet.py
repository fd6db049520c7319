"""One picture of a whole dataset: a row of samples for each class, so that wrong labels and bad crops meet the eye."""

from __future__ import annotations

import io
import unicodedata
from collections import defaultdict
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Resampling

from worker.imports.source import Pixels

_PAPER = (250, 250, 248)
_STRIPE = (241, 242, 243)
_FRAME = (226, 228, 231)
_INK = (32, 36, 42)
_FAINT = (120, 126, 134)
_GAP = 4
_MARGIN = 12
_WIDEST_LABEL = 220
_LONGEST_LABEL = 200
"""letters that are measured at all"""
_FONT_SIZE = 14
_NO_SAMPLES = "no samples"
_NO_LETTER = "\U0010fffd"
"""a private character: drawn as the box of those that are missing"""


class ContactSheet:
    """Gathers the first samples of each class while an import passes by; keeps small tiles only."""

    def __init__(self, labels: Sequence[str], per_class: int = 8, tile: int = 48, most_classes: int = 100) -> None:
        self._labels = list(labels)
        self._per_class = per_class
        self._tile = tile
        self._shown = min(len(self._labels), most_classes)
        self._tiles: defaultdict[int, list[Image.Image]] = defaultdict(list)
        self._font = ImageFont.load_default(size=_FONT_SIZE)

    def wants(self, label: int) -> bool:
        """Whether another sample of the class has a place."""
        return label < self._shown and len(self._tiles[label]) < self._per_class

    def add(self, label: int, pixels: Pixels) -> None:
        """Does nothing where `wants` says no. Nothing of `pixels` is kept."""
        if self.wants(label):
            self._tiles[label].append(self._letterboxed(pixels))

    def draw(self) -> bytes:
        """A PNG."""
        captions = [self._elided(self._drawable(number)) for number in range(self._shown)]
        left = _MARGIN + int(max((self._font.getlength(caption) for caption in captions), default=0)) + _MARGIN
        row = self._tile + 2 * _GAP
        more = len(self._labels) - self._shown
        footer = f"… and {more:,} more class{'' if more == 1 else 'es'}" if more else ""
        width = max(left + self._per_class * (self._tile + _GAP), left + int(self._font.getlength(footer))) + _MARGIN
        height = 2 * _MARGIN + self._shown * row + (row if footer else 0)
        sheet = Image.new("RGB", (width, height), _PAPER)
        canvas = ImageDraw.Draw(sheet)
        for number, caption in enumerate(captions):
            top = _MARGIN + number * row
            if number % 2 == 0:
                canvas.rectangle((0, top, width, top + row - 1), fill=_STRIPE)
            canvas.text((_MARGIN, top + row // 2), caption, fill=_INK, font=self._font, anchor="lm")
            self._draw_samples(sheet, canvas, number, left, top)
        if footer:
            canvas.text((_MARGIN, height - _MARGIN - row // 2), footer, fill=_FAINT, font=self._font, anchor="lm")
        data = io.BytesIO()
        sheet.save(data, "PNG")
        return data.getvalue()

    def _draw_samples(self, sheet: Image.Image, canvas: ImageDraw.ImageDraw, label: int, left: int, top: int) -> None:
        tiles = self._tiles.get(label, [])
        if not tiles:
            middle = top + self._tile // 2 + _GAP
            canvas.text((left, middle), _NO_SAMPLES, fill=_FAINT, font=self._font, anchor="lm")
        for place, tile in enumerate(tiles):
            sheet.paste(tile, (left + place * (self._tile + _GAP), top + _GAP))

    def _letterboxed(self, pixels: Pixels) -> Image.Image:
        image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        scale = self._tile / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        # Enlarged pixels stay squares: a smooth blur would hide how little the network sees.
        method = Resampling.NEAREST if scale > 1 else Resampling.BILINEAR
        fitted = image.resize(size, method, reducing_gap=3.0).convert("RGB")
        tile = Image.new("RGB", (self._tile, self._tile), _FRAME)
        tile.paste(fitted, ((self._tile - fitted.width) // 2, (self._tile - fitted.height) // 2))
        return tile

    def _drawable(self, number: int) -> str:
        """The label as far as the font has its letters; with the class's number where it has not."""
        label = " ".join(
            "".join(
                letter if letter.isprintable() else " " for letter in self._labels[number][: 2 * _LONGEST_LABEL]
            ).split()
        )
        plain = "".join(part for part in unicodedata.normalize("NFKD", label) if not unicodedata.combining(part))
        text = "".join(letter if self._has(letter) else "?" for letter in plain)
        return text if "?" not in text.replace("?", "", plain.count("?")) else f"class {number}: {text}"

    def _has(self, letter: str) -> bool:
        return letter == " " or bytes(self._font.getmask(letter)) != bytes(self._font.getmask(_NO_LETTER))

    def _elided(self, text: str) -> str:
        if len(text) <= _LONGEST_LABEL and self._font.getlength(text) <= _WIDEST_LABEL:
            return text
        text = text[:_LONGEST_LABEL]
        while text and self._font.getlength(text + "…") > _WIDEST_LABEL:
            text = text[:-1]
        return text.rstrip() + "…"
