//! Results in the form of Prometheus' HTTP API v1: the `data` object.

use serde_json::{Value as Json, json};

use super::Value;
use crate::model::{Labels, Series};

/// A number as Prometheus prints it: `+Inf`, `-Inf`, `NaN`, shortest digits else.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let magnitude = value.abs();
    // Go's 'f' with the shortest digits: no exponent at any size.
    if magnitude != 0.0 && !(1e-7..1e21).contains(&magnitude) {
        format!("{value:e}")
    } else {
        value.to_string()
    }
}

fn seconds(ts_ms: i64) -> Json {
    if ts_ms % 1000 == 0 { json!(ts_ms / 1000) } else { json!(ts_ms as f64 / 1000.0) }
}

fn metric(labels: &Labels) -> Json {
    Json::Object(labels.iter().map(|l| (l.name.to_string(), Json::String(l.value.to_string()))).collect())
}

/// The `data` of a range query.
pub fn range(series: &[Series]) -> Json {
    let result = series.iter().map(|series| {
        let values = series.ts_ms.iter().zip(&series.values);
        let values: Vec<Json> = values.map(|(ts, value)| json!([seconds(*ts), number(*value)])).collect();
        json!({ "metric": metric(&series.labels), "values": values })
    });
    json!({ "resultType": "matrix", "result": result.collect::<Vec<_>>() })
}

/// The `data` of an instant query at `at_ms`.
pub fn instant(value: &Value, at_ms: i64) -> Json {
    let at = seconds(at_ms);
    match value {
        Value::Scalar(scalar) => json!({ "resultType": "scalar", "result": [at, number(*scalar)] }),
        Value::String(text) => json!({ "resultType": "string", "result": [at, text] }),
        Value::Matrix(series) => range(series),
        Value::Vector(samples) => {
            let result = samples.iter().map(
                |sample| json!({ "metric": metric(&sample.labels), "value": [at, number(sample.value)] }),
            );
            json!({ "resultType": "vector", "result": result.collect::<Vec<_>>() })
        }
    }
}
