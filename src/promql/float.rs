//! Floats as Prometheus prints them: the shortest digits that read back the same.

/// Without an exponent: `1000000000000000000000`, `0.0000001`, `+Inf`, `NaN`.
pub(super) fn plain(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        v => v.to_string(),
    }
}

/// With an exponent below 1e-6 and from 1e21 on, as in Prometheus' JSON.
pub(super) fn json(value: f64) -> String {
    let size = value.abs();
    if value.is_finite() && size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        return match text.split_once('e') {
            // Go writes the exponent's sign always and pads it to two digits, but cuts e-09 to e-9.
            Some((digits, exponent)) if exponent.starts_with('-') => format!("{digits}e{exponent}"),
            Some((digits, exponent)) => format!("{digits}e+{exponent:0>2}"),
            None => text,
        };
    }
    plain(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_prometheus_does() {
        for (value, expected) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (-0.0, "-0"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-7"),
            (1e-6, "0.000001"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(json(value), expected);
        }
        assert_eq!(plain(1e21), "1000000000000000000000");
    }
}
