//! Which pages of a file can hold a selection's series, from the footer alone.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::errors::ParquetError;

use crate::model::{METRIC_NAME, Selection};
use crate::store::file::Footer;

/// What to read: row groups, and the rows within them.
pub(super) struct Pruned {
    pub(super) row_groups: Vec<usize>,
    pub(super) rows: Option<RowSelection>,
}

/// The sort columns that a matcher can demand a value of, with their label.
const PRUNABLE: [(&str, &str); 3] =
    [("cluster", "cluster"), ("metric", METRIC_NAME), ("instance", "instance")];

/// Least and greatest value of a stretch of rows, per column of [`PRUNABLE`]; `None` where not known.
type Bounds = [Option<(String, String)>; PRUNABLE.len()];

pub(super) fn prune(footer: &Footer, selections: &[Selection]) -> Result<Pruned, ParquetError> {
    let metadata = footer.arrow.metadata();
    let groups = metadata.row_groups();
    let mut group_bounds: Vec<Bounds> = vec![Bounds::default(); groups.len()];
    for (column, (name, _)) in PRUNABLE.iter().enumerate() {
        let converter =
            StatisticsConverter::try_new(name, footer.arrow.schema(), footer.arrow.parquet_schema())?;
        fill(
            &mut group_bounds,
            column,
            &converter.row_group_mins(groups)?,
            &converter.row_group_maxes(groups)?,
        );
    }
    let row_groups: Vec<usize> = group_bounds
        .iter()
        .enumerate()
        .filter(|(_, bounds)| may_hold(bounds, selections))
        .map(|(index, _)| index)
        .collect();
    let rows = page_selection(footer, selections, &row_groups)?;
    Ok(Pruned { row_groups, rows })
}

/// The rows of the pages that may hold a selected series; `None` without a page index.
fn page_selection(
    footer: &Footer,
    selections: &[Selection],
    row_groups: &[usize],
) -> Result<Option<RowSelection>, ParquetError> {
    let metadata = footer.arrow.metadata();
    let Some(index) = metadata.page_index() else { return Ok(None) };
    let mut selectors = Vec::new();
    for group in row_groups {
        // Pages of different columns end at different rows, so each column's pages make a selection of their
        // own and the selections are intersected.
        let mut rows: Option<RowSelection> = None;
        for (column, (name, _)) in PRUNABLE.iter().enumerate() {
            let converter =
                StatisticsConverter::try_new(name, footer.arrow.schema(), footer.arrow.parquet_schema())?;
            let Some(counts) =
                converter.data_page_row_counts(index.as_ref(), metadata.row_groups(), [group])?
            else {
                continue;
            };
            let mut bounds = vec![Bounds::default(); counts.len()];
            let mins = converter.data_page_mins(index.as_ref(), [group])?;
            let maxes = converter.data_page_maxes(index.as_ref(), [group])?;
            fill(&mut bounds, column, &mins, &maxes);
            let of_column: RowSelection = bounds
                .iter()
                .zip(counts.values())
                .map(|(bounds, count)| {
                    let count = usize::try_from(*count).unwrap_or(usize::MAX);
                    if may_hold(bounds, selections) {
                        RowSelector::select(count)
                    } else {
                        RowSelector::skip(count)
                    }
                })
                .collect::<Vec<_>>()
                .into();
            rows = Some(rows.map_or_else(|| of_column.clone(), |rows| rows.intersection(&of_column)));
        }
        match rows {
            Some(rows) => selectors.extend(Vec::<RowSelector>::from(rows)),
            None => return Ok(None),
        }
    }
    Ok(Some(selectors.into()))
}

fn fill(bounds: &mut [Bounds], column: usize, mins: &ArrayRef, maxes: &ArrayRef) {
    for (row, bounds) in bounds.iter_mut().enumerate() {
        if let (Some(slot), Some(min), Some(max)) =
            (bounds.get_mut(column), text_at(mins, row), text_at(maxes, row))
        {
            *slot = Some((min, max));
        }
    }
}

fn text_at(array: &ArrayRef, row: usize) -> Option<String> {
    if row >= array.len() || array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row).to_owned()),
        DataType::Dictionary(..) => {
            let dictionary = array.as_dictionary_opt::<Int32Type>()?;
            let key = usize::try_from(dictionary.keys().value(row)).ok()?;
            Some(dictionary.values().as_string_opt::<i32>()?.value(key).to_owned())
        }
        _ => None,
    }
}

fn may_hold(bounds: &Bounds, selections: &[Selection]) -> bool {
    selections.iter().any(|selection| {
        bounds.iter().zip(PRUNABLE).all(|(bounds, (_, label))| match (bounds, selection.demanded(label)) {
            (Some((min, max)), Some(value)) => min.as_str() <= value && value <= max.as_str(),
            _ => true,
        })
    })
}
