//! Line charts over time.

use serde::Serialize;

use super::scale::{TimeScale, ValueScale};
use super::{BOX_WIDTH, PLOT_HEIGHT, coord, path};
use crate::model::Series;
use crate::model::catalogue::Unit;

/// Least distance between two end labels, px.
const LABEL_GAP: f64 = 14.0;

/// More marks than this in one chart are told as one.
const MARKS_MAX: usize = 12;

/// More lines than this cannot be told apart; the rest is left out and counted.
const LINES_MAX: usize = 7;

/// Rows of the data table below a chart.
const TABLE_ROWS: i64 = 24;

/// A limit is drawn if it is at most this far above the data; else it would flatten the lines.
const LIMIT_REACH: f64 = 3.0;

/// What a chart shall show.
pub(crate) struct Plan<'a> {
    pub(crate) id: &'static str,
    pub(crate) title: &'a str,
    pub(crate) unit: Unit,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) lines: Vec<(String, &'a Series)>,
    /// Value and text of each limit.
    pub(crate) limits: Vec<(f64, String)>,
    /// Instants with a text, such as a change of the leader.
    pub(crate) marks: Vec<(i64, String)>,
    /// The finding, in one sentence; a limit that is too far above is added to it.
    pub(crate) caption: String,
    /// What to say when there are no lines.
    pub(crate) why_missing: &'a str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LineChart {
    pub(crate) id: &'static str,
    pub(crate) title: String,
    /// `ms · last 24 h · 5 min`.
    pub(crate) note: String,
    pub(crate) caption: String,
    /// Set instead of lines when there is nothing to draw.
    pub(crate) missing: Option<String>,
    pub(crate) height: String,
    pub(crate) y_ticks: Vec<(String, String)>,
    pub(crate) x_ticks: Vec<(String, String)>,
    pub(crate) lines: Vec<Line>,
    pub(crate) limits: Vec<LimitLine>,
    pub(crate) marks: Vec<Mark>,
    /// Places without any data: left edge and width in the stretched box.
    pub(crate) gaps: Vec<(String, String)>,
    pub(crate) table: Table,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    /// Which of the series' colours and dashes, 0 to 4.
    pub(crate) style: usize,
    pub(crate) name: String,
    pub(crate) path: String,
    /// The newest value and the height of its label; `None` when the line ended before.
    pub(crate) end: Option<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LimitLine {
    pub(crate) y: String,
    /// Height of the text.
    pub(crate) label_y: String,
    pub(crate) text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Mark {
    /// Per cent of the width.
    pub(crate) x: String,
    pub(crate) text: String,
    /// `end` when there is no room to the right.
    pub(crate) anchor: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Table {
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<(String, Vec<String>)>,
}

impl LineChart {
    pub(crate) fn new(plan: Plan<'_>) -> Self {
        let time = TimeScale { start_ms: plan.start_ms, end_ms: plan.end_ms };
        let mut series = plan.lines;
        series.retain(|(_, s)| s.window(plan.start_ms, plan.end_ms).1.iter().any(|v| v.is_finite()));
        let left_out = series.len().saturating_sub(LINES_MAX);
        series.truncate(LINES_MAX);
        let highest = series
            .iter()
            .flat_map(|(_, s)| s.window(plan.start_ms, plan.end_ms).1)
            .copied()
            .filter(|v| v.is_finite())
            .fold(0.0, f64::max);
        let (near, far): (Vec<_>, Vec<_>) =
            plan.limits.into_iter().partition(|(value, _)| *value <= highest * LIMIT_REACH);
        let scale =
            ValueScale::up_to(near.iter().map(|(value, _)| *value).fold(highest, f64::max), plan.unit);
        let missing = series.is_empty().then(|| crate::report::text::plain(plan.why_missing));
        let mut caption = plan.caption;
        for (_, text) in far.iter().filter(|_| missing.is_none()) {
            caption.push_str(&format!(" The {text} is outside this scale."));
        }
        if left_out > 0 {
            caption.push_str(&format!(" {left_out} more are not drawn."));
        }
        let steps = Steps { time, step_ms: plan.step_ms.max(1) };
        let columns: Vec<Vec<Option<f64>>> = series.iter().map(|(_, s)| steps.values(s)).collect();
        let mut lines: Vec<Line> = series
            .iter()
            .zip(&columns)
            .enumerate()
            .map(|(at, ((name, _), values))| line(at % 5, name, values, &steps, &scale))
            .collect();
        spread_labels(&mut lines);
        Self {
            id: plan.id,
            title: plan.title.to_owned(),
            note: note(&scale, plan.end_ms - plan.start_ms, plan.step_ms),
            caption,
            gaps: if missing.is_some() { Vec::new() } else { steps.gaps(&columns) },
            missing,
            height: coord(PLOT_HEIGHT),
            y_ticks: scale.ticks.iter().map(|t| (coord(scale.y(*t, PLOT_HEIGHT)), scale.tick(*t))).collect(),
            x_ticks: time.ticks().into_iter().map(|(ts, text)| (percent(time.share(ts)), text)).collect(),
            table: table(&lines, &columns, &steps, &scale),
            lines,
            limits: near.into_iter().map(|(value, text)| limit_line(value, text, &scale)).collect(),
            marks: marks(plan.marks, time),
        }
    }
}

/// The regular instants of a chart.
struct Steps {
    time: TimeScale,
    step_ms: i64,
}

impl Steps {
    fn count(&self) -> usize {
        usize::try_from((self.time.end_ms - self.time.start_ms) / self.step_ms).unwrap_or(0) + 1
    }

    fn at(&self, n: usize) -> i64 {
        self.time.start_ms + i64::try_from(n).unwrap_or(0) * self.step_ms
    }

    fn x(&self, n: usize) -> f64 {
        (BOX_WIDTH * self.time.share(self.at(n))).round()
    }

    /// The value at each step, taken from the nearest sample within half a step.
    fn values(&self, series: &Series) -> Vec<Option<f64>> {
        let mut values = vec![None; self.count()];
        let half = self.step_ms / 2;
        let (ts, samples) = series.window(self.time.start_ms - half, self.time.end_ms + half);
        for (ts, value) in ts.iter().zip(samples).filter(|(_, value)| value.is_finite()) {
            let n = usize::try_from((ts - self.time.start_ms + half) / self.step_ms).unwrap_or(0);
            if let Some(slot) = values.get_mut(n) {
                *slot = Some(*value);
            }
        }
        values
    }

    /// Runs of two or more steps at which no line has a value.
    fn gaps(&self, columns: &[Vec<Option<f64>>]) -> Vec<(String, String)> {
        let empty: Vec<bool> = (0..self.count())
            .map(|n| columns.iter().all(|c| c.get(n).copied().flatten().is_none()))
            .collect();
        let mut gaps = Vec::new();
        let mut start = None;
        for (n, is_empty) in empty.iter().copied().chain([false]).enumerate() {
            match (start, is_empty) {
                (None, true) => start = Some(n),
                (Some(from), false) => {
                    if n - from >= 2 {
                        let (left, right) = (self.x(from.saturating_sub(1)), self.x(n.min(self.count() - 1)));
                        gaps.push((coord(left), coord(right - left)));
                    }
                    start = None;
                }
                _ => {}
            }
        }
        gaps
    }
}

fn line(style: usize, name: &str, values: &[Option<f64>], steps: &Steps, scale: &ValueScale) -> Line {
    let points = values
        .iter()
        .enumerate()
        .map(|(n, value)| value.map(|value| (steps.x(n), scale.y(value, PLOT_HEIGHT))));
    // The newest step may not have a value yet.
    let newest = values.iter().rev().take(3).find_map(|value| *value);
    Line {
        style,
        name: name.to_owned(),
        path: path(points),
        end: newest.map(|value| (scale.number(value), coord(scale.y(value, PLOT_HEIGHT)))),
    }
}

/// Moves end labels apart so that none covers another.
fn spread_labels(lines: &mut [Line]) {
    let mut ends: Vec<(usize, f64)> = lines
        .iter()
        .enumerate()
        .filter_map(|(at, line)| Some((at, line.end.as_ref()?.1.parse::<f64>().ok()?)))
        .collect();
    ends.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut below = f64::NEG_INFINITY;
    for (_, y) in &mut ends {
        *y = y.max(below + LABEL_GAP);
        below = *y;
    }
    let mut above = PLOT_HEIGHT + LABEL_GAP / 2.0;
    for (_, y) in ends.iter_mut().rev() {
        *y = y.min(above);
        above = *y - LABEL_GAP;
    }
    for (at, y) in ends {
        if let Some((_, label_y)) = lines.get_mut(at).and_then(|line| line.end.as_mut()) {
            *label_y = coord(y);
        }
    }
}

fn limit_line(value: f64, text: String, scale: &ValueScale) -> LimitLine {
    let y = scale.y(value, PLOT_HEIGHT);
    let label_y = if y < 14.0 { y + 13.0 } else { y - 5.0 };
    LimitLine { y: coord(y), label_y: coord(label_y), text }
}

fn marks(marks: Vec<(i64, String)>, time: TimeScale) -> Vec<Mark> {
    let mut inside: Vec<(i64, String)> =
        marks.into_iter().filter(|(ts, _)| (time.start_ms..=time.end_ms).contains(ts)).collect();
    inside.sort();
    let crowded = inside.len() > 3;
    if inside.len() > MARKS_MAX {
        let text = format!("{} leader changes", inside.len());
        let every = inside.len().div_ceil(MARKS_MAX);
        inside = inside.into_iter().step_by(every).collect();
        if let Some(first) = inside.first_mut() {
            first.1 = text;
        }
    }
    inside
        .into_iter()
        .enumerate()
        .map(|(at, (ts, text))| Mark {
            x: percent(time.share(ts)),
            text: if crowded && at > 0 { String::new() } else { text },
            anchor: if time.share(ts) > 0.5 { "end" } else { "start" },
        })
        .collect()
}

fn note(scale: &ValueScale, span_ms: i64, step_ms: i64) -> String {
    let span = match span_ms / 3_600_000 {
        24 => "24 h".to_owned(),
        _ => crate::model::unit::human_span(span_ms),
    };
    let unit = if scale.unit().is_empty() { String::new() } else { format!("{} · ", scale.unit()) };
    format!("{unit}last {span} · {}", crate::model::unit::human_span(step_ms))
}

fn percent(share: f64) -> String {
    format!("{}%", coord(share * 100.0))
}

/// Every nth step as a row, so that a reader without the picture has the same numbers.
fn table(lines: &[Line], columns: &[Vec<Option<f64>>], steps: &Steps, scale: &ValueScale) -> Table {
    let every = usize::try_from((steps.count() as i64 / TABLE_ROWS).max(1)).unwrap_or(1);
    let unit = scale.unit();
    let named =
        |line: &Line| if unit.is_empty() { line.name.clone() } else { format!("{} {unit}", line.name) };
    let rows = (0..steps.count()).rev().step_by(every).map(|n| {
        let cell = |column: &Vec<Option<f64>>| {
            column.get(n).copied().flatten().map_or_else(|| "no data".to_owned(), |v| scale.number(v))
        };
        (crate::report::text::clock(steps.at(n), steps.time.end_ms), columns.iter().map(cell).collect())
    });
    Table { head: lines.iter().map(named).collect(), rows: rows.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn series(values: impl IntoIterator<Item = (i64, f64)>) -> Series {
        let mut series = Series::new(Labels::default());
        for (step, value) in values {
            series.push(step * 300_000, value);
        }
        series
    }

    fn plan<'a>(lines: Vec<(String, &'a Series)>) -> Plan<'a> {
        Plan {
            id: "t",
            title: "T",
            unit: Unit::Seconds,
            start_ms: 0,
            end_ms: 288 * 300_000,
            step_ms: 300_000,
            lines,
            limits: vec![(0.01, "limit 10 ms".to_owned())],
            marks: Vec::new(),
            caption: "Fine.".to_owned(),
            why_missing: "Nothing was scraped.",
        }
    }

    #[test]
    fn gaps_stay_gaps_and_are_hatched_where_no_line_has_data() {
        let a = series((0..=288).filter(|n| !(100..110).contains(n)).map(|n| (n, 0.005)));
        let b = series((0..=288).filter(|n| !(105..120).contains(n)).map(|n| (n, 0.004)));
        let chart = LineChart::new(plan(vec![("a".into(), &a), ("b".into(), &b)]));
        assert_eq!(chart.lines.iter().map(|l| l.path.matches('M').count()).collect::<Vec<_>>(), [2, 2]);
        assert_eq!(chart.gaps.len(), 1, "only where both are missing: {:?}", chart.gaps);
        assert_eq!(chart.missing, None);
        assert!(
            chart.table.rows.len() <= 26 && chart.table.rows.iter().any(|r| r.1.contains(&"no data".into()))
        );
    }

    #[test]
    fn a_far_limit_is_told_not_drawn() {
        let low = series((0..=288).map(|n| (n, 0.001)));
        let chart = LineChart::new(plan(vec![("a".into(), &low)]));
        assert!(chart.limits.is_empty());
        assert_eq!(chart.caption, "Fine. The limit 10 ms is outside this scale.");
        let high = series((0..=288).map(|n| (n, 0.02)));
        assert_eq!(LineChart::new(plan(vec![("a".into(), &high)])).limits.len(), 1);
    }

    #[test]
    fn no_series_means_a_reason_not_an_empty_plot() {
        let nan = series((0..=288).map(|n| (n, f64::NAN)));
        for lines in [vec![], vec![("a".to_owned(), &nan)]] {
            let chart = LineChart::new(plan(lines));
            assert_eq!(chart.missing.as_deref(), Some("Nothing was scraped."));
            assert!(chart.lines.is_empty() && chart.gaps.is_empty());
        }
    }

    #[test]
    fn end_labels_keep_their_distance() {
        let all: Vec<Series> = (0..7).map(|_| series((0..=288).map(|n| (n, 0.000_1)))).collect();
        let chart = LineChart::new(plan(all.iter().map(|s| ("x".to_owned(), s)).collect()));
        let mut ys: Vec<f64> =
            chart.lines.iter().map(|l| l.end.as_ref().expect("ends").1.parse().expect("a number")).collect();
        ys.sort_by(f64::total_cmp);
        assert!(ys.windows(2).all(|w| w[1] - w[0] >= LABEL_GAP - 0.2), "{ys:?}");
    }

    #[test]
    fn many_marks_are_clustered() {
        let a = series((0..=288).map(|n| (n, 0.005)));
        let mut many = plan(vec![("a".into(), &a)]);
        many.marks = (0..50).map(|n| (n * 300_000, "leader → x".to_owned())).collect();
        let chart = LineChart::new(many);
        assert!(chart.marks.len() <= MARKS_MAX);
        assert_eq!(chart.marks[0].text, "50 leader changes");
    }
}
