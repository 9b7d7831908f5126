//! Every function of Prometheus 2.42: name, argument types, result type.

use super::ast::ValueType::{self, Matrix, Scalar, Text, Vector};

/// A function's name and types.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    pub name: &'static str,
    pub arguments: &'static [ValueType],
    /// How many of the last arguments may be left out.
    pub optional: usize,
    /// The last argument may repeat.
    pub variadic: bool,
    pub returns: ValueType,
}

const fn of(name: &'static str, arguments: &'static [ValueType], returns: ValueType) -> Signature {
    Signature { name, arguments, optional: 0, variadic: false, returns }
}

const fn optional(
    name: &'static str,
    arguments: &'static [ValueType],
    optional: usize,
    returns: ValueType,
) -> Signature {
    Signature { name, arguments, optional, variadic: false, returns }
}

/// Sorted by name. Native histogram functions are left out on purpose: see [`REFUSED`].
pub(super) static SIGNATURES: &[Signature] = &[
    of("abs", &[Vector], Vector),
    of("absent", &[Vector], Vector),
    of("absent_over_time", &[Matrix], Vector),
    of("acos", &[Vector], Vector),
    of("acosh", &[Vector], Vector),
    of("asin", &[Vector], Vector),
    of("asinh", &[Vector], Vector),
    of("atan", &[Vector], Vector),
    of("atanh", &[Vector], Vector),
    of("avg_over_time", &[Matrix], Vector),
    of("ceil", &[Vector], Vector),
    of("changes", &[Matrix], Vector),
    of("clamp", &[Vector, Scalar, Scalar], Vector),
    of("clamp_max", &[Vector, Scalar], Vector),
    of("clamp_min", &[Vector, Scalar], Vector),
    of("cos", &[Vector], Vector),
    of("cosh", &[Vector], Vector),
    of("count_over_time", &[Matrix], Vector),
    optional("day_of_month", &[Vector], 1, Vector),
    optional("day_of_week", &[Vector], 1, Vector),
    optional("day_of_year", &[Vector], 1, Vector),
    optional("days_in_month", &[Vector], 1, Vector),
    of("deg", &[Vector], Vector),
    of("delta", &[Matrix], Vector),
    of("deriv", &[Matrix], Vector),
    of("exp", &[Vector], Vector),
    of("floor", &[Vector], Vector),
    of("histogram_quantile", &[Scalar, Vector], Vector),
    of("holt_winters", &[Matrix, Scalar, Scalar], Vector),
    optional("hour", &[Vector], 1, Vector),
    of("idelta", &[Matrix], Vector),
    of("increase", &[Matrix], Vector),
    of("irate", &[Matrix], Vector),
    Signature {
        name: "label_join",
        arguments: &[Vector, Text, Text, Text],
        optional: 1,
        variadic: true,
        returns: Vector,
    },
    of("label_replace", &[Vector, Text, Text, Text, Text], Vector),
    of("last_over_time", &[Matrix], Vector),
    of("ln", &[Vector], Vector),
    of("log10", &[Vector], Vector),
    of("log2", &[Vector], Vector),
    of("max_over_time", &[Matrix], Vector),
    of("min_over_time", &[Matrix], Vector),
    optional("minute", &[Vector], 1, Vector),
    optional("month", &[Vector], 1, Vector),
    of("pi", &[], Scalar),
    of("predict_linear", &[Matrix, Scalar], Vector),
    of("present_over_time", &[Matrix], Vector),
    of("quantile_over_time", &[Scalar, Matrix], Vector),
    of("rad", &[Vector], Vector),
    of("rate", &[Matrix], Vector),
    of("resets", &[Matrix], Vector),
    optional("round", &[Vector, Scalar], 1, Vector),
    of("scalar", &[Vector], Scalar),
    of("sgn", &[Vector], Vector),
    of("sin", &[Vector], Vector),
    of("sinh", &[Vector], Vector),
    of("sort", &[Vector], Vector),
    of("sort_desc", &[Vector], Vector),
    of("sqrt", &[Vector], Vector),
    of("stddev_over_time", &[Matrix], Vector),
    of("stdvar_over_time", &[Matrix], Vector),
    of("sum_over_time", &[Matrix], Vector),
    of("tan", &[Vector], Vector),
    of("tanh", &[Vector], Vector),
    of("time", &[], Scalar),
    of("timestamp", &[Vector], Vector),
    of("vector", &[Scalar], Vector),
    optional("year", &[Vector], 1, Vector),
];

/// Functions that Prometheus has and this evaluator refuses, with why.
pub(super) const REFUSED: [(&str, &str); 9] = [
    ("histogram_count", "native histograms are not supported"),
    ("histogram_sum", "native histograms are not supported"),
    ("histogram_fraction", "native histograms are not supported"),
    ("histogram_avg", "native histograms are not supported"),
    ("histogram_stddev", "native histograms are not supported"),
    ("histogram_stdvar", "native histograms are not supported"),
    ("mad_over_time", "it came after Prometheus 2.42, whose language this is"),
    ("double_exponential_smoothing", "it came after Prometheus 2.42: use holt_winters"),
    ("sort_by_label", "it came after Prometheus 2.42, whose language this is"),
];

/// The function called `name`.
pub(super) fn find(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|signature| signature.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_different() {
        assert!(SIGNATURES.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(REFUSED.iter().all(|(name, _)| find(name).is_none()));
    }
}
