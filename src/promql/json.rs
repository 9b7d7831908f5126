//! Results in the shape of Prometheus' HTTP API v1: the `data` object, `{"resultType", "result"}`.
//!
//! Times are seconds with milliseconds, values are strings, as Prometheus writes them.

use serde_json::{Value as Json, json};

use super::{Value, float};
use crate::model::Series;

/// The result of an instant query at `at_ms`.
pub fn instant(value: &Value, at_ms: i64) -> Json {
    match value {
        Value::Scalar(scalar) => json!({"resultType": "scalar", "result": point(at_ms, *scalar)}),
        Value::String(text) => json!({"resultType": "string", "result": [time(at_ms), text]}),
        Value::Vector(samples) => {
            let element =
                |s: &super::InstantSample| json!({"metric": s.labels, "value": point(at_ms, s.value)});
            json!({"resultType": "vector", "result": samples.iter().map(element).collect::<Vec<_>>()})
        }
        Value::Matrix(series) => range(series),
    }
}

/// The result of a range query.
pub fn range(series: &[Series]) -> Json {
    let element = |series: &Series| {
        let points = series.ts_ms.iter().zip(&series.values);
        json!({
            "metric": series.labels,
            "values": points.map(|(ts_ms, value)| point(*ts_ms, *value)).collect::<Vec<_>>(),
        })
    };
    json!({"resultType": "matrix", "result": series.iter().map(element).collect::<Vec<_>>()})
}

fn point(at_ms: i64, value: f64) -> Json {
    json!([time(at_ms), float::json(value)])
}

/// Seconds; whole ones without a fraction.
fn time(at_ms: i64) -> Json {
    if at_ms % 1000 == 0 {
        return json!(at_ms / 1000);
    }
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this era are exact in a float")]
    let seconds = at_ms as f64 / 1000.0;
    json!(seconds)
}
