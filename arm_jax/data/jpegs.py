"""What is wrong inside a JPEG, which other decoders fill in and say nothing of."""

import re

import simplejpeg

# Of what libjpeg warns of, that which leaves pixels wrong (its jerror.h).
_DAMAGE = ("premature end", "bad huffman code", "bad arithmetic code", "instead of rst")
# As a share of the file, bytes that nothing was made of. Some writers leave a few.
_MOST_LEFT = 0.01


def damage(data: bytes) -> str:
    """What libjpeg says of a JPEG whose pixels are not those that were saved; "" for a whole one.

    A file that was damaged in its middle and has its end is decoded as far as that goes: the rest
    is grey, shifted or of other colours. A change that leaves valid codes is not seen. Kinds of
    JPEG that the library does not read are left to other decoders.

    >>> damage(b"")
    ''
    """
    try:
        # An eighth of the size: the codes, which show damage, are read all the same.
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        what = " ".join(str(error).split())
        left = re.search(r"(\d+) extraneous bytes", what)
        if left and int(left[1]) > _MOST_LEFT * len(data):
            return what
        if any(words in what.lower() for words in _DAMAGE):
            return what
    return ""
