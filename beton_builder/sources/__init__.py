"""Sub-room `sources`: each format as splits of samples in that format's own order.

In:  a folder, or the name of a known dataset. Out: a `Source` (see `samples.py`).
One module per family; `detect.py` chooses among them. Nothing is decoded here and nothing is held
but labels and names: samples are read when they are asked for.
"""
