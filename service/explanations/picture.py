"""A heat map over its image, as PNG."""

from __future__ import annotations

from base64 import b85decode
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.inference import Floats

SHOWN_SIDE = 256
"""to which smaller images are enlarged"""

_ENCODED = (
    "000C500jX71_1#G0s#sF0t^BI4g&%Z1OpNT0~7@W7X}0w2L&4l1sw?n9|{K|3kM_&2qp~(DGmuM5D6_23NR81G879m6$>{O3pp4J"
    "JQ)l=8w^1l3_~6aMIQ`EAq+|*3``^pPbLgeC<{|53sox%S1k)!FA7^R3S2S@UNj0{HVI)k31T@3V>=0CJqcw#31&bFXF>{SL<(p{"
    "3Ta0RYDo)fN(^gE3~NmdY)=hrQ4VZU4sBEqZB-9#R}gMl5N=u#Zd?*>T@r3z6K-J>ZekQ}WEE~@6>eu1ZfO>7Y8P&77;bGCZf_ZG"
    "aT#uM8g6tNZgm@OcN}ea9Bq0XZG0VVeI9Lp9&CUgY=R(cgdl5$A!~;rYltFhiXv)^BWaBzX^$jnkR@o6C1{f-XO$*rmnUYJCuW)`"
    "Wt%Bvohf9WDr2B3W1=f!qby;iEMTTBV5lx%sV-itFJ7%MU9K=(urXV)GFr1TTC_7+wlr9`HCMScR=PG-yf;+6I8(nlQouS<!8%aG"
    "J5R(sPR2b=$39HRKTFC$O3Oh>%tA=cLr2d<M$kn?(ndtnM?=&|Le)w^*GoUxOg`C7J=#t@+fX~*Q99mIINwt@;8ix^RyE>RG~-z_"
    "<XSQ1TrlQcFXvt^=wL1BVJqrmD(hq^>t-nIXD01wCGKh@?`$LQZXxh*An|b@@pB#WbR6?`8}oP>^m!Qddl&V67507<_J9-jf)e+H"
    "5cq`;_=gVoi46IR3;B!+`Hl(tkO=yc2l|u;`<4d#mj?Tp2K$=^`<(~;p9lP*2>hc7{G|%~rVRY34g9JP{HziDt`hvP6#TLl{InSR"
    "wi^4m9s9Z;`@A9hz9ag;Ci=oC`ot>w#x42BFZszb`O7u<%{TbZI``2%_tQZ3)kF5zM)lcA_1jGJ-B0x2Q}p3h^W$3c<z4dTVe;r@"
    "^6F{v>}~Pwaq;hU@$q@`@_q93g7fu;^Y)7L_>T4YlJ@$R`1_jq{GIy!q5S`("
)

INFERNO = np.frombuffer(b85decode(_ENCODED), np.uint8).reshape(256, 3)
"""Matplotlib's colour map (van der Walt and Smith, 2015): even steps to the eye, also a colour-blind one. Importing
Matplotlib for it would take 30 MB."""

STRENGTH = 0.75
"""how much of the image the hottest colour covers"""


def overlay(image: NDArray[np.uint8], heat: Floats) -> bytes:
    """PNG of an image (height, width, channels) in grey, with its heat (height, width) in colour over it."""
    height, width = heat.shape
    factor = max(1, -(-SHOWN_SIDE // max(height, width)))
    size = (width * factor, height * factor)
    grey = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).convert("L")
    background = np.asarray(grey.resize(size, Image.Resampling.BICUBIC), np.float32)[..., None]
    relative = _enlarge(heat / max(float(heat.max()), 1e-30), size)
    colours = INFERNO[np.clip(np.rint(relative * 255), 0, 255).astype(np.uint8)]
    strength = STRENGTH * np.sqrt(np.clip(relative, 0, 1))[..., None]
    shown = np.rint(background * (1 - strength) + colours * strength).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(shown).save(file, "PNG")
    return file.getvalue()


def _enlarge(heat: Floats, size: tuple[int, int]) -> Floats:
    """To (width, height), smoothly."""
    return np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
