//! Text in columns, as Go's `text/tabwriter` aligns it.
//!
//! A cell ends with a tab. A column is a run of neighbouring lines that have a cell at its place; its width is that of
//! its widest cell. What stands behind a line's last tab belongs to no column.

/// How columns are laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    pub min_width: usize,
    /// Spaces behind the widest cell.
    pub padding: usize,
}

impl Layout {
    /// Tables and custom columns.
    pub const TABLE: Self = Self { min_width: 6, padding: 3 };
    /// Descriptions.
    pub const DESCRIPTION: Self = Self { min_width: 0, padding: 2 };
}

/// Aligns `text`; a last line without a line break gets none.
pub fn align(text: &str, layout: Layout) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len() - 1]).collect();
    for column in 0..widths.iter().map(Vec::len).max().unwrap_or(0) {
        column_widths(&lines, &mut widths, column, layout);
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (index, (cells, widths)) in lines.iter().zip(&widths).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        for (place, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            let width = widths.get(place).copied().unwrap_or(0);
            out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
        }
    }
    out
}

/// The widths of one column, run by run.
fn column_widths(lines: &[Vec<&str>], widths: &mut [Vec<usize>], column: usize, layout: Layout) {
    let mut start = 0;
    while start < lines.len() {
        if lines[start].len() <= column + 1 {
            start += 1;
            continue;
        }
        let mut end = start;
        // A run of a column lies within a run of the column before, since those lines have that cell too.
        while end < lines.len() && lines[end].len() > column + 1 {
            end += 1;
        }
        let widest =
            lines[start..end].iter().map(|cells| cells[column].chars().count() + layout.padding).max();
        let width = widest.unwrap_or(0).max(layout.min_width);
        for line in &mut widths[start..end] {
            line[column] = width;
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(align(text, Layout::DESCRIPTION), expected);
    }

    #[test]
    fn runs_of_lines_share_a_width() {
        check("a\tb\nlonger\tc\n", "a       b\nlonger  c\n");
        check("a\tb\nbreak\nlonger\tc\n", "a  b\nbreak\nlonger  c\n");
    }

    #[test]
    fn the_last_cell_is_not_padded_and_an_empty_one_is() {
        check("a\t\tb\t\nx\tyy\tz\n", "a      b  \nx  yy  z\n");
    }

    #[test]
    fn characters_count_not_bytes() {
        check("é\tb\nab\tc\n", "é   b\nab  c\n");
    }
}
