//! Cells of comma-separated values.

/// A cell as RFC 4180 wants it. What a spreadsheet would run as a formula gets a quote before it.
pub fn csv_cell(cell: &str) -> String {
    let text = if cell.starts_with(['=', '+', '@']) { format!("'{cell}") } else { cell.to_owned() };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_never_formulas() {
        for (cell, wanted) in
            [("a", "a"), ("a,b", "\"a,b\""), ("a\"b", "\"a\"\"b\""), ("=1+1", "'=1+1"), ("-", "-")]
        {
            assert_eq!(csv_cell(cell), wanted);
        }
    }
}
