//! A table, printed as text or as JSON.

use serde_json::Value;

use crate::proto::connector::ResourceId;

/// How many rows are read at a time.
pub(super) const PAGE: usize = 10_000;

/// A table: a heading for each column, and rows with as many cells.
pub(super) struct Table {
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn as_text(&self) -> String {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let heading: Vec<String> = self.columns.iter().map(|&column| column.to_owned()).collect();
        let line = |cells: &Vec<String>| {
            let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        std::iter::once(&heading).chain(&self.rows).map(line).collect::<Vec<_>>().join("\n")
    }

    pub(super) fn as_json(&self) -> String {
        let object = |row: &Vec<String>| {
            let cells = self.columns.iter().zip(row);
            Value::Object(
                cells.map(|(&column, cell)| (column.to_owned(), Value::from(cell.as_str()))).collect(),
            )
        };
        Value::Array(self.rows.iter().map(object).collect()).to_string()
    }
}

/// Text of a connector on one line: control characters are replaced.
pub(super) fn cell(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Formats an id as `type/id`.
pub(super) fn written(id: Option<&ResourceId>) -> String {
    id.map(|id| cell(&format!("{}/{}", id.resource_type, id.resource))).unwrap_or_default()
}
