"""A lesson as one page that needs no network: equations are MathML, which browsers draw themselves.

``jupyter nbconvert --to bomrl_lite.course.page.OfflinePage notebooks/01_maml_baseline.ipynb``
"""

from latex2mathml.converter import convert


def mathml(tex: str, *, block: bool = False) -> str:
    r"""Convert an equation from TeX to MathML.

    Args:
        tex: without its dollar signs.
        block: whether it stands on lines of its own.
    """
    return convert(tex.replace(r"\arg", r"\operatorname{arg}"), display="block" if block else "inline")
