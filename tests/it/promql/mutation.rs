//! Queries with mistakes in them: what Prometheus refuses we must refuse, and what it accepts after all must
//! mean the same here.

use super::series::Random;

/// What people put in the wrong place, or half.
const PIECES: &str = r#"( ) [ ] { } , : @ = ! ~ == != =~ !~ < >= + - * / % ^ " ' ` # $ ; \ . _ é 0 1 7 010 08
0x1f 0x 1. .5 1e3 1e 1e+ 1_0 5m 0s 1h30m 30m1h 1.5h 5M 1d1d 1y2w3d Inf nan INF infinity sum by without on
ignoring group_left group_right bool offset and or unless atan2 start end start() END() topk count_values rate
time time() g m c_total zone "zone" "" 'x' `y` a:b :a by(zone) on() ignoring(zone) group_left() {zone="x"} [5m]
[5m:] [5m:1m] @start() @-1 @1700003000 zone="x" zone=~"(" (g) (1) ("v") "\x41" "\q" "#;

/// `query` with one or two mistakes.
pub fn mutated(random: &mut Random, query: &str) -> String {
    let pieces: Vec<&str> =
        PIECES.split_whitespace().chain([" ", "\n", " offset 5m", " offset -5m"]).collect();
    let mut tokens = tokens(query);
    for _ in 0..=random.below(2) {
        let place = random.below(tokens.len() as u64 + 1) as usize;
        let piece = random.pick(&pieces).to_owned();
        match random.below(6) {
            0 | 1 => tokens.insert(place, piece),
            2 if place < tokens.len() => tokens[place] = piece,
            3 if place + 1 < tokens.len() => tokens.swap(place, place + 1),
            4 if place > 0 => tokens.truncate(place),
            _ if place < tokens.len() => drop(tokens.remove(place)),
            _ => tokens.push(piece),
        }
    }
    tokens.concat()
}

/// Words, and single characters of everything else.
fn tokens(query: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in query.chars() {
        let word = c.is_alphanumeric() || c == '_';
        match tokens.last_mut().filter(|_| word && in_word) {
            Some(last) => last.push(c),
            None => tokens.push(c.to_string()),
        }
        in_word = word;
    }
    tokens
}
