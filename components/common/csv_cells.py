"""Cells of CSV files that people open in spreadsheets."""

# Spreadsheets take a cell that begins with one of these as a formula, which may run programs.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def escape_csv_cell(value: object) -> object:
    """Puts an apostrophe before text that a spreadsheet would run as a formula.

    Spreadsheets show such a cell as text. Numbers, also written out as text, stay as they are.

    Args:
      value: A cell, as `csv.writer` takes it.

    Returns:
      The cell to write.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA_STARTS) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
