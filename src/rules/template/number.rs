//! Numbers as Prometheus' template functions print them: four significant digits.

/// As Go prints a float: shortest, with an exponent for the very large and very small.
pub(super) fn plain(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        // Go writes the sign and at least two digits of the exponent.
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        format!("{mantissa}e{sign}{digits:0>2}")
    } else {
        format!("{value}")
    }
}

/// At most four significant digits, without zeros at the end.
fn four_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return plain(value);
    }
    let exponent = value.abs().log10().floor();
    let scale = 10_f64.powf(3.0 - exponent);
    plain((value * scale).round() / scale)
}

fn scaled(value: f64, base: f64, large: &[&str], small: &[&str]) -> String {
    if value == 0.0 || !value.is_finite() {
        return plain(value);
    }
    let (mut value, mut unit) = (value, "");
    if value.abs() >= 1.0 {
        for prefix in large {
            if value.abs() < base {
                break;
            }
            (value, unit) = (value / base, *prefix);
        }
    } else {
        for prefix in small {
            if value.abs() >= 1.0 {
                break;
            }
            (value, unit) = (value * base, *prefix);
        }
    }
    format!("{}{unit}", four_digits(value))
}

pub(super) fn humanize(value: f64) -> String {
    scaled(
        value,
        1_000.0,
        &["k", "M", "G", "T", "P", "E", "Z", "Y"],
        &["m", "u", "n", "p", "f", "a", "z", "y"],
    )
}

pub(super) fn humanize_1024(value: f64) -> String {
    scaled(value, 1_024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"], &[])
}

pub(super) fn humanize_percentage(value: f64) -> String {
    format!("{}%", four_digits(value * 100.0))
}

/// Seconds as `1h 2m 5s` from one second on, as `28.4ms` below.
pub(super) fn humanize_duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return plain(seconds);
    }
    if seconds.abs() < 1.0 {
        return format!("{}s", humanize(seconds));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let magnitude = seconds.abs();
    let parts = [
        (magnitude / 86_400.0).floor(),
        (magnitude / 3_600.0).floor() % 24.0,
        (magnitude / 60.0).floor() % 60.0,
        magnitude % 60.0,
    ];
    let first = parts.iter().position(|part| *part >= 1.0).unwrap_or(3);
    let shown: Vec<String> = parts
        .iter()
        .zip(["d", "h", "m", "s"])
        .skip(first)
        .map(|(part, unit)| {
            // Only a lone count of seconds keeps its fraction.
            let part = if first == 3 { four_digits(*part) } else { plain(part.trunc()) };
            format!("{part}{unit}")
        })
        .collect();
    format!("{sign}{}", shown.join(" "))
}
