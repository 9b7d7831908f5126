//! Charts as data for the templates: positions, paths and texts, worked out here so that pages need no
//! script to show them.
//!
//! Horizontal positions are per cent of the plot and paths live in a box of their own that stretches, so a
//! chart fits a phone and a wall screen with text of one size. Gaps stay gaps: nothing is interpolated.

mod heatmap;
mod line;
mod scale;
mod spark;

pub(crate) use heatmap::{Heatmap, heatmap};
pub(crate) use line::{LineChart, Plan};
pub(crate) use spark::{Spark, evenly, spark};

/// Height of a plot in px, without the time axis below it.
pub(crate) const PLOT_HEIGHT: f64 = 200.0;

/// Width of the stretched box in which paths are drawn; with whole numbers a step is finer than a pixel.
pub(crate) const BOX_WIDTH: f64 = 1000.0;

/// A number for an SVG attribute: one decimal at most, none if it is not needed.
pub(crate) fn coord(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The `d` of a path through `points` of (x, y); a `None` lifts the pen. A lone point becomes a dot.
pub(crate) fn path(points: impl IntoIterator<Item = Option<(f64, f64)>>) -> String {
    let mut d = String::new();
    let mut run = 0_usize;
    for point in points {
        let Some((x, y)) = point else {
            close_run(&mut d, run);
            run = 0;
            continue;
        };
        d.push(if run == 0 { 'M' } else { 'L' });
        d.push_str(&format!("{} {}", coord(x), coord(y)));
        run += 1;
    }
    close_run(&mut d, run);
    d
}

/// A path of one point draws nothing; a zero-length line with round caps draws a dot.
fn close_run(d: &mut String, run: usize) {
    if run == 1 {
        d.push_str("h0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_lift_the_pen() {
        let points = [
            Some((0.0, 1.0)),
            Some((1.25, 2.0)),
            None,
            None,
            Some((3.0, 4.06)),
            None,
            Some((5.0, 6.0)),
            Some((7.0, 8.0)),
        ];
        assert_eq!(path(points), "M0 1L1.2 2M3 4.1h0M5 6L7 8");
        assert_eq!(path([]), "");
    }
}
