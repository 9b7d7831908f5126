//! An error with its causes as one line.

/// The texts of an error and of all its causes, joined by colons; causes that repeat what was said are left
/// out.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    // A server's answer may have lines of its own.
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str, #[source] Option<Box<Said>>);

    #[test]
    fn causes_are_said_once() {
        let inner = Said("no room", None);
        let middle = Said("disk: no room", Some(Box::new(inner)));
        assert_eq!(chain(&Said("write a", Some(Box::new(middle)))), "write a: disk: no room");
    }
}
