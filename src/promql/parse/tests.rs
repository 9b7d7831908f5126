//! The grammar: canonical print, errors with their place, and that printing loses nothing.

use proptest::prelude::*;

use super::parse;
use crate::model::{METRIC_NAME, MatchOp, Matcher};
use crate::promql::EvalOptions;
use crate::promql::ast::{
    Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Cardinality, Expr, Grouping, Matching, RangeSelector,
    Selector, Shift, Subquery, Unary,
};
use crate::promql::function::Function;

#[test]
fn prints_canonically() {
    for (query, expected) in [
        ("sum(a)by(b,c,)", "sum by (b, c) (a)"),
        ("sum by(b)(a)", "sum by (b) (a)"),
        ("TOPK WITHOUT (x) (3, m)", "topk without (x) (3, m)"),
        ("a+b*c^d", "a + b * c ^ d"),
        ("a{b='c',d=~\"e|f\",}", "a{b=\"c\", d=~\"e|f\"}"),
        ("{__name__=\"a\"}", "{__name__=\"a\"}"),
        ("a[90m] offset -30s", "a[1h30m] offset -30s"),
        ("a[1h:5m] @ start() offset 1d", "a[1h:5m] @ start() offset 1d"),
        ("a[1h:] offset 1d @ end()", "a[1h:] @ end() offset 1d"),
        ("a @ 1.5", "a @ 1.500"),
        ("a > bool on(x) group_left(y) b", "a > bool on (x) group_left (y) b"),
        ("a and ignoring() b", "a and ignoring () b"),
        ("-1", "-1"),
        ("-a ^ 2", "-a ^ 2"),
        ("iNf + nAn", "Inf + NaN"),
        ("sum + on", "sum + on"),
        ("`a\\b`", "\"a\\\\b\""),
        ("a # comment\n + b", "a + b"),
        ("pi ( )", "pi()"),
    ] {
        match parse(query) {
            Ok(expr) => assert_eq!(expr.to_string(), expected, "{query}"),
            Err(error) => assert_eq!(query, "sum + on", "{error}"),
        }
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    for (loose, tight) in [
        ("a or b and c", "a or (b and c)"),
        ("a and b == c", "a and (b == c)"),
        ("a == b + c", "a == (b + c)"),
        ("a + b atan2 c", "a + (b atan2 c)"),
        ("a * b ^ c", "a * (b ^ c)"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("a - b - c", "(a - b) - c"),
        ("-a * b", "(-a) * b"),
        ("-a ^ b", "-(a ^ b)"),
        ("2 ^ -a", "2 ^ (-a)"),
    ] {
        let without_parentheses = |query: &str| strip(parse(query).expect(query));
        assert_eq!(without_parentheses(loose), without_parentheses(tight), "{loose}");
    }
}

fn strip(expr: Expr) -> Expr {
    match expr {
        Expr::Paren(expr) => strip(*expr),
        Expr::Unary(unary) => Expr::Unary(Box::new(Unary { expr: strip(unary.expr), ..*unary })),
        Expr::Binary(binary) => {
            let Binary { lhs, rhs, op, return_bool, matching } = *binary;
            Expr::Binary(Box::new(Binary { lhs: strip(lhs), rhs: strip(rhs), op, return_bool, matching }))
        }
        expr => expr,
    }
}

#[test]
fn errors_say_what_and_where() {
    for (query, expected) in [
        ("", "1:1: no expression found"),
        ("sum(a", "1:6: expected \")\""),
        ("a +\n  nothing(b)", "2:3: unknown function nothing"),
        ("rate(a)", "1:1: expected type range vector in call to function rate, got instant vector"),
        ("rate(a[5m], 1)", "1:1: expected 1 argument(s) in call to rate, got 2"),
        ("round()", "expected 1 to 2 argument(s)"),
        ("label_join(a)", "expected at least 3"),
        ("a[5m] + 1", "1:7: binary expression must contain only scalar and instant vector"),
        ("1 == 2", "1:3: comparisons between scalars must use the bool modifier"),
        ("1 and a", "set operator and not allowed"),
        ("a + bool b", "1:5: bool modifier can only be used on comparison operators"),
        ("a[0s]", "1:3: duration must be greater than 0"),
        ("a[300]", "expected a duration with a unit"),
        ("a[5m][5m]", "ranges only allowed for vector selectors"),
        ("a offset 5m[5m]", "no offset modifiers allowed before range"),
        ("sum(a) offset 5m", "offset modifier must be preceded by"),
        ("a @ 1[5m]", "1:1: no @ modifiers allowed before range"),
        ("sum by (a, Inf) (b)", "1:12: expected a label name, found number Inf"),
        ("a @ 1 @ 2", "may not be set multiple times"),
        ("{a=\"\"}", "at least one non-empty matcher"),
        ("a{__name__=\"b\"}", "metric name must not be set twice"),
        ("a{b=~\"(\"}", "1:6: regular expression \"(\""),
        ("a{b=c}", "expected a string as label value"),
        ("{\"a.b\"}", "syntax of Prometheus 3"),
        ("sum by (\"a.b\") (c)", "syntax of Prometheus 3"),
        ("histogram_count(a)", "native histograms"),
        ("mad_over_time(a[5m])", "2.42"),
        ("topk(a)", "wrong number of arguments for topk"),
        ("a + on (b) group_left (b) c", "must not occur in on and group clause"),
        ("a group_left b", "unexpected \"group_left\""),
        ("a and on (b) group_left c", "no grouping allowed for and operation"),
        ("sum(a,)", "trailing commas"),
        ("5m", "a duration is no value"),
        ("a $ b", "1:3: unexpected character '$'"),
        ("\"é\" + $", "1:7: unexpected character"),
    ] {
        let error = parse(query).expect_err(query).to_string();
        assert!(error.contains(expected), "{query}: {error}");
    }
    for deep in
        ["(".repeat(5000), "-".repeat(5000), "a + ".repeat(5000), "sum(".repeat(5000), "a^".repeat(5000)]
    {
        let error = parse(&format!("{deep}a")).expect_err("too deep").to_string();
        assert!(error.contains("nested deeper"), "{error}");
    }
}

#[test]
fn an_expression_knows_how_far_it_reads() {
    for (query, reach_ms, longest_ms) in [
        ("a", 300_000, 0),
        ("a offset 1h", 3_900_000, 3_600_000),
        ("a offset -1h", 0, 0),
        ("rate(a[15m] offset 1h)", 4_500_000, 3_600_000),
        ("max_over_time(rate(a[5m])[1h:1m] offset 1d)", 90_300_000, 86_400_000),
        ("1 + time()", 0, 0),
    ] {
        let expr = parse(query).expect(query);
        assert_eq!(expr.reach_ms(&EvalOptions::default()), reach_ms, "{query}");
        assert_eq!(expr.longest_range_or_offset_ms(), longest_ms, "{query}");
    }
    let names = parse("a + rate({__name__=\"b\"}[5m]) + {c=\"d\"}").expect("parses").metric_names();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}

fn text() -> impl Strategy<Value = String> {
    "[a-z\"\\\\\n\té]{0,6}"
}

fn label() -> impl Strategy<Value = String> {
    "[a-z_][a-z0-9_]{0,4}".prop_filter("the name has its own rules", |name| name != METRIC_NAME)
}

fn duration_ms() -> impl Strategy<Value = i64> {
    prop_oneof![1_i64..100_000_000, Just(300_000), Just(86_400_000)]
}

fn shift() -> impl Strategy<Value = Shift> {
    let at = prop_oneof![
        4 => Just(None),
        1 => Just(Some(At::Start)),
        1 => Just(Some(At::End)),
        1 => (-5_000_000_i64..2_000_000_000_000).prop_map(|ms| Some(At::Ms(ms))),
    ];
    (prop_oneof![Just(0), duration_ms(), duration_ms().prop_map(|ms| -ms)], at)
        .prop_map(|(offset_ms, at)| Shift { offset_ms, at })
}

fn selector() -> impl Strategy<Value = Selector> {
    let op = prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual)];
    let matchers = prop::collection::vec((label(), op, text()), 0..3);
    ("m[a-z:_]{1,5}", matchers, shift()).prop_map(|(name, matchers, shift)| {
        let matcher =
            |(name, op, value): (String, _, String)| Matcher::new(&name, op, &value).expect("no regex");
        let mut matchers: Vec<Matcher> = matchers.into_iter().map(matcher).collect();
        matchers.push(Matcher::equal(METRIC_NAME, &name));
        // `min`, `max` and the like would need what follows to be told from an aggregation.
        Selector { name: Some(name), matchers, shift }
    })
}

fn matching() -> impl Strategy<Value = Option<Matching>> {
    // `inf` is a number, to Prometheus' grammar as well.
    let name = || "i[a-z]{1,3}".prop_filter("a number", |name| name != "inf");
    let include = move || prop::collection::vec(name(), 0..3);
    let cardinality = prop_oneof![
        Just(Cardinality::OneToOne),
        include().prop_map(Cardinality::GroupLeft),
        include().prop_map(Cardinality::GroupRight),
    ];
    let matching = (any::<bool>(), prop::collection::vec("o[a-z]{1,3}", 0..3), cardinality);
    prop::option::of(matching.prop_map(|(on, labels, cardinality)| Matching { on, labels, cardinality }))
}

/// Well-typed instant vectors, with parentheses wherever an operand is not simple.
fn vector() -> impl Strategy<Value = Expr> {
    let leaf = selector().prop_map(Expr::Selector);
    leaf.prop_recursive(4, 32, 3, |inner| {
        let operand = inner.clone().prop_map(|expr| Expr::Paren(Box::new(expr)));
        let number = any::<f64>().prop_map(|n| Expr::Number(if n.is_nan() { f64::NAN } else { n }));
        let range = (selector(), duration_ms())
            .prop_map(|(selector, range_ms)| Expr::Range(RangeSelector { selector, range_ms }));
        let subquery = (operand.clone(), duration_ms(), prop::option::of(duration_ms()), shift()).prop_map(
            |(expr, range_ms, step_ms, shift)| {
                Expr::Subquery(Box::new(Subquery { expr, range_ms, step_ms, shift }))
            },
        );
        let grouping = (any::<bool>(), prop::collection::vec(label(), 0..3))
            .prop_map(|(without, labels)| Grouping { without, labels });
        let arithmetic = prop_oneof![Just(BinaryOp::Add), Just(BinaryOp::Pow), Just(BinaryOp::Atan2)];
        prop_oneof![
            (operand.clone(), operand.clone(), arithmetic, matching()).prop_map(
                |(lhs, rhs, op, matching)| {
                    Expr::Binary(Box::new(Binary { op, lhs, rhs, return_bool: false, matching }))
                }
            ),
            (operand.clone(), number.clone(), any::<bool>()).prop_map(|(lhs, rhs, return_bool)| {
                Expr::Binary(Box::new(Binary {
                    op: BinaryOp::LessOrEqual,
                    lhs,
                    rhs,
                    return_bool,
                    matching: None,
                }))
            }),
            (any::<bool>(), operand)
                .prop_map(|(negative, expr)| Expr::Unary(Box::new(Unary { negative, expr }))),
            prop_oneof![range, subquery]
                .prop_map(|arg| Expr::Call(Call { function: Function::Rate, args: vec![arg] })),
            (inner.clone(), text()).prop_map(|(expr, text)| {
                let text = Expr::Text(text);
                let args = vec![expr, text.clone(), text.clone(), text.clone(), text];
                Expr::Call(Call { function: Function::LabelReplace, args })
            }),
            (inner, prop::option::of(grouping), number).prop_map(|(expr, grouping, number)| {
                let aggregate = Aggregate { op: AggregateOp::Quantile, grouping, param: Some(number), expr };
                Expr::Aggregate(Box::new(aggregate))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn parsing_what_was_printed_gives_the_same_tree(expr in vector()) {
        let printed = expr.to_string();
        let parsed = parse(&printed);
        prop_assert!(parsed.is_ok(), "{}: {:?}", printed, parsed);
        prop_assert_eq!(parsed.expect("just checked"), expr, "{}", printed);
    }

    #[test]
    fn no_text_makes_it_panic(query in "[a-c0-9 \"'`(){}\\[\\]+*=!~<>,:@.\\\\#e\n-]{0,40}") {
        if let Err(error) = parse(&query) {
            prop_assert!(error.position <= query.len() && error.line > 0 && error.column > 0);
        }
    }
}
