//! A small table of text.

use crate::records::shown;

/// Most characters of a cell.
const CELL_MAX: usize = 24;

/// Rows under headings, aligned, with control characters escaped.
pub(super) fn aligned(headings: &[String], rows: &[Vec<String>]) -> String {
    let short = |text: &String| {
        let text = shown(text);
        if text.chars().count() > CELL_MAX {
            let cut: String = text.chars().take(CELL_MAX - 3).collect();
            format!("{cut}...")
        } else {
            text
        }
    };
    let lines: Vec<Vec<String>> = std::iter::once(headings)
        .chain(rows.iter().map(Vec::as_slice))
        .map(|cells| cells.iter().map(short).collect())
        .collect();
    let width = |at: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(at))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}
