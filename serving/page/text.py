"""Text for Streamlit."""

_MARKS = frozenset("\\`*_{}[]()#+-.!|~$:<>&@")


def plain(text: str) -> str:
    """Text that Streamlit, which reads Markdown almost everywhere, shows as it is."""
    return "".join(f"\\{letter}" if letter in _MARKS else letter for letter in text)
