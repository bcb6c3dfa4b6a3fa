"""Small generated fonts, so that tests need no installed ones."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection, TTFont, newTable
from fontTools.ttLib.tables.sbixGlyph import Glyph
from fontTools.ttLib.tables.sbixStrike import Strike
from fontTools.ttLib.tables.TupleVariation import TupleVariation
from PIL import Image


def made_font(codes: Iterable[int], family: str = "Square") -> bytes:
    """Return a TrueType font in which each code has the same square glyph."""
    return _saved(_builder(codes, family).font)


def made_collection(codes: Sequence[int], families: Iterable[str]) -> bytes:
    """Return a collection of such fonts, one for each family."""
    collection = TTCollection()
    collection.fonts = [TTFont(io.BytesIO(made_font(codes, family))) for family in families]
    return _saved(collection)


def variable_font(codes: Iterable[int]) -> bytes:
    """Return a font whose square is 600 units wide at the weights up to 400, and 1,100 at 900."""
    builder = _builder(codes, "Variable")
    builder.setupFvar([("wght", 100, 400, 900, "Weight")], [])
    wider = [(0, 0), (0, 0), (500, 0), (500, 0), *[(0, 0)] * 4]  # four corners, then the metrics
    builder.setupGvar({"square": [TupleVariation({"wght": (0, 1, 1)}, wider)]})
    return _saved(builder.font)


def layered_emoji(codes: Iterable[int], colour: tuple[int, int, int]) -> bytes:
    """Return a font whose glyphs are squares of a colour (COLR, version 0)."""
    builder = _builder(codes, "Layered")
    builder.setupCOLR({"square": [("square", 0)]})
    builder.setupCPAL([[tuple(part / 255 for part in (*colour, 255))]])
    return _saved(builder.font)


def pictured_emoji(codes: Iterable[int], colour: tuple[int, int, int]) -> bytes:
    """Return a font whose glyphs are pictures of one colour (sbix)."""
    picture = io.BytesIO()
    Image.new("RGB", (60, 70), colour).save(picture, "PNG")
    font = _builder(codes, "Pictured").font
    strike = Strike(ppem=100, resolution=72)
    for name in font.getGlyphOrder():
        data = picture.getvalue() if name == "square" else b""
        strike.glyphs[name] = Glyph(
            name, originOffsetX=0, originOffsetY=0, graphicType="png " if data else None, imageData=data
        )
    font["sbix"] = table = newTable("sbix")
    table.version, table.flags, table.strikes = 1, 1, {100: strike}
    return _saved(font)


def _builder(codes: Iterable[int], family: str) -> FontBuilder:
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (600, 700), (600, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap(dict.fromkeys(codes, "square"))
    builder.setupGlyf({".notdef": square, "square": square})
    builder.setupHorizontalMetrics({".notdef": (650, 0), "square": (650, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Bold"})
    builder.setupOS2()
    builder.setupPost()
    return builder


def _saved(font: TTFont | TTCollection) -> bytes:
    file = io.BytesIO()
    font.save(file)
    return file.getvalue()
