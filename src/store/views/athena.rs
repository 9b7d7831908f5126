//! The tables as Athena (Trino) sees them: external tables with partition projection, and a view over each.
//!
//! Athena cannot read the footers that say which files a merge hides, so these views do not leave out files:
//! they keep one of all rows with one identity, which comes to the same, as a merge changes no row. Made from
//! the tables' schemas.

use std::fmt::Write as _;

use arrow::datatypes::DataType;

use crate::store::table::{Level, Table};

/// The first day that queries look for. Athena counts partitions from here to now.
const FIRST_DAY: &str = "2024-01-01";

/// Statements, each ending in `;` and an empty line, for the store at `root` (`s3://bucket/prefix`). Athena runs
/// one at a time.
pub fn athena(root: &str) -> String {
    // A quote in a prefix must not end the SQL string.
    let root = root.trim_end_matches('/').replace('\'', "''");
    let mut sql = String::from(
        "-- The tables as Athena sees them. Run each statement by itself, in a database of its own. The views keep one\n\
         -- of all rows with one identity: merged files and their sources both have it for an hour.\n\n",
    );
    for table in Table::ALL {
        sql.push_str(&external(table, &root));
        sql.push_str(&view(table));
    }
    sql
}

fn external(table: Table, root: &str) -> String {
    let name = table.as_str();
    let schema = table.schema();
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| format!("  `{}` {}", field.name(), hive(field.data_type())))
        .collect();
    let levels: Vec<&str> = Level::ALL.iter().map(|level| level.as_str()).collect();
    format!(
        "CREATE EXTERNAL TABLE IF NOT EXISTS `{name}_files` (\n{}\n)\n\
         PARTITIONED BY (`level` string, `dt` string)\n\
         STORED AS PARQUET\n\
         LOCATION '{root}/data/{name}/'\n\
         TBLPROPERTIES (\n  \
           'projection.enabled' = 'true',\n  \
           'projection.level.type' = 'enum',\n  \
           'projection.level.values' = '{}',\n  \
           'projection.dt.type' = 'date',\n  \
           'projection.dt.format' = 'yyyy-MM-dd',\n  \
           'projection.dt.range' = '{FIRST_DAY},NOW+1DAYS',\n  \
           'storage.location.template' = '{root}/data/{name}/level=${{level}}/dt=${{dt}}/'\n);\n\n",
        columns.join(",\n"),
        levels.join(",")
    )
}

/// What Hive calls a column of ours.
fn hive(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Int64 => "bigint",
        DataType::Float64 => "double",
        DataType::Boolean => "boolean",
        DataType::Timestamp(..) => "timestamp",
        _ => "string",
    }
}

fn view(table: Table) -> String {
    let name = table.as_str();
    let schema = table.schema();
    let mut columns = vec!["\"dt\"".to_owned()];
    for field in schema.fields() {
        match (table, field.name().as_str()) {
            (Table::Samples, "value_int") => {}
            (Table::Samples, "value") => {
                columns.push("coalesce(CAST(\"value_int\" AS double), \"value\") AS \"value\"".to_owned());
            }
            (_, column) => columns.push(format!("\"{column}\"")),
        }
    }
    let mut identity: Vec<String> = table.group_columns().iter().map(|c| format!("\"{c}\"")).collect();
    let time = format!("\"{}\"", table.time_column());
    // Of several witnesses of one event the earliest counts, whenever they saw it.
    if table != Table::Events {
        identity.push(time.clone());
    }
    let mut sql = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        sql,
        "CREATE OR REPLACE VIEW \"{name}\" AS\nSELECT {}\nFROM (\n  SELECT *, row_number() OVER (PARTITION BY {} ORDER \
         BY {time}) AS \"copy\"\n  FROM \"{name}_files\"\n) AS \"copies\"\nWHERE \"copy\" = 1;\n\n",
        columns.join(", "),
        identity.join(", ")
    );
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_in_its_table_and_view() {
        let sql = athena("s3://b'ucket/p/");
        assert!(sql.contains("LOCATION 's3://b''ucket/p/data/samples/'"), "{sql}");
        for table in Table::ALL {
            for field in table.schema().fields() {
                let column = field.name();
                assert!(external(table, "s3://b").contains(&format!("  `{column}` ")), "{table:?} {column}");
                assert!(view(table).contains(&format!("\"{column}\"")), "{table:?} {column}");
            }
        }
    }
}
