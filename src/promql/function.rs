//! The functions of Prometheus 2.42: their names, arguments and results.
//!
//! Owns: the table the parser checks calls against. Refuses: computing (see `eval`), the native histogram
//! functions and functions of later versions, each with a message of its own.

use super::ast::Kind;

/// One function with its arguments' kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    pub name: &'static str,
    pub function: Function,
    pub args: &'static [Kind],
    /// How many of `args` may be left out at the end.
    pub optional: usize,
    /// The last argument may be given any number of times.
    pub variadic: bool,
    pub returns: Kind,
}

macro_rules! functions {
    ($($variant:ident $name:literal [$($arg:ident)*] $(optional $optional:literal)? $(variadic $variadic:literal)? => $returns:ident;)*) => {
        /// A function; `signature` has its name and arguments.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Function { $($variant,)* }

        impl Function {
            /// All functions, in the order of their names.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub fn signature(self) -> Signature {
                match self {
                    $(Self::$variant => Signature {
                        name: $name,
                        function: self,
                        args: &[$(Kind::$arg,)*],
                        optional: 0 $(+ $optional)?,
                        variadic: false $(|| $variadic)?,
                        returns: Kind::$returns,
                    },)*
                }
            }
        }
    };
}

functions! {
    Abs "abs" [Vector] => Vector;
    Absent "absent" [Vector] => Vector;
    AbsentOverTime "absent_over_time" [Matrix] => Vector;
    Acos "acos" [Vector] => Vector;
    Acosh "acosh" [Vector] => Vector;
    Asin "asin" [Vector] => Vector;
    Asinh "asinh" [Vector] => Vector;
    Atan "atan" [Vector] => Vector;
    Atanh "atanh" [Vector] => Vector;
    AvgOverTime "avg_over_time" [Matrix] => Vector;
    Ceil "ceil" [Vector] => Vector;
    Changes "changes" [Matrix] => Vector;
    Clamp "clamp" [Vector Scalar Scalar] => Vector;
    ClampMax "clamp_max" [Vector Scalar] => Vector;
    ClampMin "clamp_min" [Vector Scalar] => Vector;
    Cos "cos" [Vector] => Vector;
    Cosh "cosh" [Vector] => Vector;
    CountOverTime "count_over_time" [Matrix] => Vector;
    DayOfMonth "day_of_month" [Vector] optional 1 => Vector;
    DayOfWeek "day_of_week" [Vector] optional 1 => Vector;
    DayOfYear "day_of_year" [Vector] optional 1 => Vector;
    DaysInMonth "days_in_month" [Vector] optional 1 => Vector;
    Deg "deg" [Vector] => Vector;
    Delta "delta" [Matrix] => Vector;
    Deriv "deriv" [Matrix] => Vector;
    Exp "exp" [Vector] => Vector;
    Floor "floor" [Vector] => Vector;
    HistogramQuantile "histogram_quantile" [Scalar Vector] => Vector;
    HoltWinters "holt_winters" [Matrix Scalar Scalar] => Vector;
    Hour "hour" [Vector] optional 1 => Vector;
    Idelta "idelta" [Matrix] => Vector;
    Increase "increase" [Matrix] => Vector;
    Irate "irate" [Matrix] => Vector;
    LabelJoin "label_join" [Vector Text Text Text] optional 1 variadic true => Vector;
    LabelReplace "label_replace" [Vector Text Text Text Text] => Vector;
    LastOverTime "last_over_time" [Matrix] => Vector;
    Ln "ln" [Vector] => Vector;
    Log10 "log10" [Vector] => Vector;
    Log2 "log2" [Vector] => Vector;
    MaxOverTime "max_over_time" [Matrix] => Vector;
    MinOverTime "min_over_time" [Matrix] => Vector;
    Minute "minute" [Vector] optional 1 => Vector;
    Month "month" [Vector] optional 1 => Vector;
    Pi "pi" [] => Scalar;
    PredictLinear "predict_linear" [Matrix Scalar] => Vector;
    PresentOverTime "present_over_time" [Matrix] => Vector;
    QuantileOverTime "quantile_over_time" [Scalar Matrix] => Vector;
    Rad "rad" [Vector] => Vector;
    Rate "rate" [Matrix] => Vector;
    Resets "resets" [Matrix] => Vector;
    Round "round" [Vector Scalar] optional 1 => Vector;
    Scalar "scalar" [Vector] => Scalar;
    Sgn "sgn" [Vector] => Vector;
    Sin "sin" [Vector] => Vector;
    Sinh "sinh" [Vector] => Vector;
    Sort "sort" [Vector] => Vector;
    SortDesc "sort_desc" [Vector] => Vector;
    Sqrt "sqrt" [Vector] => Vector;
    StddevOverTime "stddev_over_time" [Matrix] => Vector;
    StdvarOverTime "stdvar_over_time" [Matrix] => Vector;
    SumOverTime "sum_over_time" [Matrix] => Vector;
    Tan "tan" [Vector] => Vector;
    Tanh "tanh" [Vector] => Vector;
    Time "time" [] => Scalar;
    Timestamp "timestamp" [Vector] => Vector;
    Vector "vector" [Scalar] => Vector;
    Year "year" [Vector] optional 1 => Vector;
}

const NATIVE_HISTOGRAM: [&str; 6] = [
    "histogram_avg",
    "histogram_count",
    "histogram_fraction",
    "histogram_stddev",
    "histogram_stdvar",
    "histogram_sum",
];

const LATER: [&str; 12] = [
    "double_exponential_smoothing",
    "first_over_time",
    "info",
    "limit_ratio",
    "limitk",
    "mad_over_time",
    "sort_by_label",
    "sort_by_label_desc",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

impl Function {
    /// The function of this name (names are case sensitive), or why there is none.
    ///
    /// # Errors
    /// With a message that tells an unknown name from one this version refuses.
    pub fn named(name: &str) -> Result<Self, String> {
        if let Some(function) = Self::ALL.iter().find(|f| f.signature().name == name) {
            return Ok(*function);
        }
        Err(if NATIVE_HISTOGRAM.contains(&name) {
            format!(
                "function {name} works on native histograms, which are not supported; use classic histograms"
            )
        } else if LATER.contains(&name) {
            format!("function {name} is not part of PromQL as of Prometheus 2.42, which is supported here")
        } else {
            format!("unknown function {name}")
        })
    }

    /// Whether the result depends on the evaluation's instant even when all arguments are pinned by `@`.
    pub fn reads_clock(self) -> bool {
        matches!(
            self,
            Self::Time
                | Self::Timestamp
                | Self::PredictLinear
                | Self::DayOfMonth
                | Self::DayOfWeek
                | Self::DayOfYear
                | Self::DaysInMonth
                | Self::Hour
                | Self::Minute
                | Self::Month
                | Self::Year
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name_and_the_table_is_sorted() {
        let names: Vec<_> = Function::ALL.iter().map(|f| f.signature().name).collect();
        assert!(names.is_sorted(), "{names:?}");
        for function in Function::ALL {
            assert_eq!(Function::named(function.signature().name), Ok(*function));
        }
    }

    #[test]
    fn says_why_a_name_is_refused() {
        let reason = |name| Function::named(name).expect_err("refused");
        assert!(reason("histogram_sum").contains("native histograms"));
        assert!(reason("mad_over_time").contains("2.42"));
        assert_eq!(reason("RATE"), "unknown function RATE");
    }
}
