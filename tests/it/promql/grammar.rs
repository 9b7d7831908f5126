//! Random queries. Most are well-typed and find series; whatever Prometheus refuses we must refuse too.

use super::series::{Random, START_MS};

pub struct Grammar {
    random: Random,
}

const RANGE_FUNCTIONS: [&str; 20] = [
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "changes",
    "resets",
    "deriv",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "sum_over_time",
    "count_over_time",
    "last_over_time",
    "present_over_time",
    "absent_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "rate",
    "increase",
];

const PLAIN_FUNCTIONS: [&str; 17] = [
    "abs",
    "ceil",
    "floor",
    "exp",
    "sqrt",
    "ln",
    "log2",
    "log10",
    "sgn",
    "deg",
    "rad",
    "atan",
    "sinh",
    "tanh",
    "absent",
    "sort",
    "sort_desc",
];

const AGGREGATES: [&str; 8] = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];
const COMPARISONS: [&str; 6] = ["==", "!=", ">", "<", ">=", "<="];

impl Grammar {
    pub fn new(seed: u64) -> Self {
        Self { random: Random(seed) }
    }

    pub fn query(&mut self) -> String {
        if self.random.chance(0.05) {
            return self.scalar(2);
        }
        self.vector(3)
    }

    fn pick(&mut self, from: &[&str]) -> String {
        self.random.pick(from).to_owned()
    }

    fn vector(&mut self, depth: u64) -> String {
        if depth == 0 {
            return self.selector();
        }
        match self.random.below(20) {
            0..=1 => self.selector(),
            2..=6 => self.over_range(depth),
            7..=9 => self.aggregate(depth),
            10..=12 => self.binary(depth),
            13 => self.with_scalar(depth),
            14..=15 => format!("{}({})", self.pick(&PLAIN_FUNCTIONS), self.vector(depth - 1)),
            16 => self.scalar_argument(depth),
            17 => self.histogram(),
            18 => self.labels(depth),
            _ => {
                // These turn the last digits of large values into anything: only values as stored.
                let shapes = [
                    "-S",
                    "sin(S)",
                    "cos(S)",
                    "tan(S)",
                    "asin(S)",
                    "acos(S)",
                    "asinh(S)",
                    "acosh(S)",
                    "atanh(S)",
                    "cosh(S)",
                    "timestamp(S) - time()",
                    "hour(timestamp(S))",
                    "minute(timestamp(S))",
                    "day_of_week(timestamp(S))",
                    "day_of_month(timestamp(S))",
                    "day_of_year(timestamp(S))",
                    "days_in_month(timestamp(S))",
                    "month(timestamp(S))",
                    "year(timestamp(S))",
                    "(S) % 7",
                    "S % S",
                ];
                let (shape, selector) = (self.pick(&shapes), self.selector());
                // Prometheus 2.42 forgets the offset of a pinned selector in timestamp().
                let both = selector.contains('@') && selector.contains("offset");
                shape.replace('S', if both { "few" } else { &selector })
            }
        }
    }

    fn selector(&mut self) -> String {
        let selector = self.bare_selector();
        format!("{selector}{}", self.shift())
    }

    fn bare_selector(&mut self) -> String {
        let names = ["c_total", "c_total", "d_total", "g", "g", "m", "s", "wild", "few", "flat", "missing"];
        let matchers = [
            "",
            "",
            "",
            r#"{instance="a"}"#,
            r#"{zone!="x"}"#,
            r#"{instance=~"a|b|c"}"#,
            r#"{zone!~"y.*",instance!=""}"#,
            r#"{nothing=""}"#,
            r#"{zone="x",instance=~".+"}"#,
        ];
        format!("{}{}", self.pick(&names), self.pick(&matchers))
    }

    fn shift(&mut self) -> String {
        let offset = match self.random.below(12) {
            0 => " offset 5m",
            1 => " offset -3m",
            2 => " offset 1h1m",
            _ => "",
        };
        let at = match self.random.below(25) {
            0 => " @ start()".to_owned(),
            1 => " @ end()".to_owned(),
            2 => format!(" @ {}", START_MS / 1000 + 4000),
            _ => String::new(),
        };
        format!("{at}{offset}")
    }

    fn range(&mut self, depth: u64) -> String {
        if depth > 0 && self.random.chance(0.2) {
            let inner = self.vector(depth - 1);
            let steps = ["20m:1m", "7m:", "10m:37s", "1m:2m", "45m:5m"];
            // Prometheus 2.42 loses samples when a pinned subquery holds something pinned.
            let shift = if inner.contains('@') { String::new() } else { self.shift() };
            return format!("({inner})[{}]{shift}", self.pick(&steps));
        }
        let ranges = ["5m", "5m", "2m", "1m", "15m", "31s", "1h", "10s"];
        format!("{}[{}]{}", self.bare_selector(), self.pick(&ranges), self.shift())
    }

    fn over_range(&mut self, depth: u64) -> String {
        let range = self.range(depth);
        match self.random.below(12) {
            0 => format!("quantile_over_time({}, {range})", self.pick(&["0.5", "0.99", "-1", "0", "1", "2"])),
            // Prometheus 2.42 moves a pinned window with the steps here (see 0003-own-promql-parser.md).
            1 if !range.contains('@') => {
                format!("predict_linear({range}, {})", self.pick(&["3600", "-60", "0", "scalar(lonely)"]))
            }
            2 => format!("holt_winters({range}, {})", self.pick(&["0.3, 0.6", "0.9, 0.1"])),
            _ => format!("{}({range})", self.pick(&RANGE_FUNCTIONS)),
        }
    }

    fn grouping(&mut self) -> String {
        let groupings = [
            "",
            "",
            "by (zone)",
            "by (instance)",
            "without (instance)",
            "without (zone, le)",
            "by (nothing)",
            "by ()",
            "without ()",
            "by (__name__, zone)",
        ];
        self.pick(&groupings)
    }

    fn aggregate(&mut self, depth: u64) -> String {
        let grouping = self.grouping();
        match self.random.below(8) {
            0 => {
                let vector = self.vector(depth - 1);
                // Prometheus 2.42 reads a parameter once when only the vector is pinned.
                let varying = if vector.contains('@') { "0.2" } else { "scalar(lonely)" };
                format!(
                    "quantile {grouping} ({}, {vector})",
                    self.pick(&["0.5", "0.9", "0", "1.5", varying, "NaN"])
                )
            }
            // Ties and NaN have no order: these values have neither.
            1 => {
                let op = self.pick(&["topk", "bottomk"]);
                let k = self.pick(&["1", "2", "3.7", "0", "-1", "9"]);
                format!("{op} {grouping} ({k}, {}{})", self.pick(&["m", "g"]), self.shift())
            }
            2 => format!("count_values {grouping} (\"v\", few{})", self.shift()),
            _ => format!("{} {grouping} ({})", self.pick(&AGGREGATES), self.vector(depth - 1)),
        }
    }

    fn operator(&mut self) -> (String, bool) {
        if self.random.chance(0.4) {
            let modifier = if self.random.chance(0.4) { " bool" } else { "" };
            return (format!("{}{modifier}", self.pick(&COMPARISONS)), false);
        }
        if self.random.chance(0.4) {
            return (self.pick(&["and", "or", "unless"]), true);
        }
        (self.pick(&["+", "-", "*", "/", "^", "atan2"]), false)
    }

    fn binary(&mut self, depth: u64) -> String {
        let (operator, is_set) = self.operator();
        let (lhs, rhs) = (self.vector(depth - 1), self.vector(depth - 1));
        if is_set {
            let matching = self.pick(&["", "", "on (instance)", "on (zone)", "ignoring (zone)", "on ()"]);
            return format!("({lhs}) {operator} {matching} ({rhs})");
        }
        match self.random.below(8) {
            0 => format!("({lhs}) {operator} on (zone) group_left zone_weight"),
            1 => format!("({lhs}) {operator} on (zone) group_left (owner) zone_weight"),
            2 => format!("zone_weight {operator} on (zone) group_right (owner) ({lhs})"),
            3 => format!("({lhs}) {operator} on (instance) ({rhs})"),
            4 => format!("({lhs}) {operator} ignoring (zone) ({rhs})"),
            _ => format!("({lhs}) {operator} ({rhs})"),
        }
    }

    fn scalar(&mut self, depth: u64) -> String {
        if depth == 0 {
            return self.pick(&["0", "1", "-2.5", "0.5", "1e3", "Inf", "NaN", "pi()", "0x1F"]);
        }
        match self.random.below(6) {
            0 => "time()".to_owned(),
            1 => format!("scalar({})", self.vector(depth - 1)),
            2 => {
                let op = self.pick(&["+", "-", "*", "/", "^", "< bool", "== bool", ">= bool"]);
                format!("({} {op} {})", self.scalar(depth - 1), self.scalar(depth - 1))
            }
            _ => self.scalar(0),
        }
    }

    fn with_scalar(&mut self, depth: u64) -> String {
        let (operator, is_set) = self.operator();
        let (vector, scalar) = (self.vector(depth - 1), self.scalar(1));
        let operator = if is_set { "*".to_owned() } else { operator };
        if self.random.chance(0.5) {
            return format!("({vector}) {operator} {scalar}");
        }
        format!("{scalar} {operator} ({vector})")
    }

    fn scalar_argument(&mut self, depth: u64) -> String {
        let vector = self.vector(depth - 1);
        match self.random.below(6) {
            0 => format!("clamp({vector}, {}, {})", self.scalar(0), self.scalar(0)),
            1 => format!("clamp_min({vector}, {})", self.scalar(1)),
            2 => format!("clamp_max({vector}, {})", self.scalar(1)),
            3 => format!("round({vector})"),
            4 => format!("round({vector}, {})", self.pick(&["0.5", "10", "0.1"])),
            _ => format!("vector({})", self.scalar(2)),
        }
    }

    fn histogram(&mut self) -> String {
        let q = self.pick(&["0.5", "0.99", "0", "1", "-0.5", "1.5", "scalar(lonely)", "NaN"]);
        let range = self.pick(&["5m", "2m", "20m"]);
        match self.random.below(4) {
            0 => format!("histogram_quantile({q}, h_bucket{})", self.shift()),
            1 => format!("histogram_quantile({q}, rate(h_bucket[{range}]))"),
            2 => format!("histogram_quantile({q}, sum by (le, zone) (rate(h_bucket[{range}])))"),
            _ => format!("histogram_quantile({q}, sum without (instance) (increase(h_bucket[{range}])))"),
        }
    }

    fn labels(&mut self, depth: u64) -> String {
        let vector = self.vector(depth - 1);
        match self.random.below(4) {
            0 => format!(r#"label_replace({vector}, "new", "$1-${{1}}x", "instance", "([a-c])")"#),
            1 => format!(r#"label_replace({vector}, "instance", "", "zone", ".*")"#),
            2 => format!(r#"label_replace({vector}, "zone", "$1", "instance", "(.*)")"#),
            _ => format!(r#"label_join({vector}, "both", "/", "zone", "instance")"#),
        }
    }
}
