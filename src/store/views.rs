//! The SQL views through which other programs read the tables.

mod athena;

pub use athena::athena;

use super::table::Table;
use super::{Store, StoreError};

const DUCKDB: &str = include_str!("views/duckdb.sql");

/// DuckDB statements that create one view per table that has files (DuckDB refuses a view over none).
///
/// # Errors
/// When the store cannot be listed.
pub async fn duckdb(store: &Store) -> Result<String, StoreError> {
    let mut tables = Vec::new();
    for table in Table::ALL {
        if !store.days(table).await?.is_empty() {
            tables.push(table);
        }
    }
    Ok(render(&root(store), &tables))
}

/// Where DuckDB finds the store.
fn root(store: &Store) -> String {
    match store.local_path() {
        Some(folder) => folder.display().to_string(),
        None => store.url().trim_end_matches('/').to_owned(),
    }
}

fn render(root: &str, tables: &[Table]) -> String {
    let mut sections = DUCKDB.split("-- table ");
    let mut sql = sections.next().unwrap_or_default().to_owned();
    for section in sections {
        let name = section.lines().next().unwrap_or_default();
        if tables.iter().any(|table| table.as_str() == name) {
            sql.push_str("-- table ");
            sql.push_str(section);
        }
    }
    // A quote in a folder's name must not end the SQL string.
    sql.replace("{root}", &root.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_a_view_and_absent_ones_are_left_out() {
        for table in Table::ALL {
            let sql = render("/d'ata", &[table]);
            assert_eq!(sql.matches("CREATE OR REPLACE VIEW").count(), 1, "{table:?}");
            assert!(sql.contains(&format!("VIEW {} AS", table.as_str())));
            assert!(sql.contains("'/d''ata/data/"), "{sql}");
        }
    }
}
