//! The documentation of hosted connectors.

use std::fs;

use baton_retool::cli::hosted_settings_table;

use crate::support::cluster::project_file;

#[test]
fn the_page_has_the_table_of_settings() {
    let page = fs::read_to_string(project_file("docs/lambda.md")).unwrap();
    let begin = page.find("| Flag | Variable |").unwrap();
    let table: String = page[begin..]
        .lines()
        .take_while(|line| line.starts_with('|'))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(table.trim(), hosted_settings_table().trim(), "copy the right-hand side into docs/lambda.md");
}
