//! Addresses, links and escapes in templates, as Go's net, net/url and text/template make them.

use core::net::IpAddr;
use std::fmt::Write as _;

/// Host and port, where it is one address with a port.
fn host_and_port(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
        Some(Some(host)) => Some((host, port)),
        Some(None) => None,
        None => (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port)),
    }
}

pub(super) fn without_port(address: &str) -> String {
    host_and_port(address).map_or(address, |(host, _)| host).to_owned()
}

/// The first part of the host's name, with the port; an IP address stays.
pub(super) fn without_domain(address: &str) -> String {
    let (host, port) = host_and_port(address).unwrap_or((address, ""));
    if host.parse::<IpAddr>().is_ok() {
        return address.to_owned();
    }
    let name = host.split('.').next().unwrap_or_default();
    match (port.is_empty(), name.contains(':')) {
        (true, _) => name.to_owned(),
        (false, false) => format!("{name}:{port}"),
        (false, true) => format!("[{name}]:{port}"),
    }
}

/// Where Prometheus shows an expression; `tab` 0 is its graph, 1 its table.
pub(super) fn graph_link(expr: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", query_escaped(expr))
}

/// The path of a URL.
pub(super) fn path_of(url: &str) -> String {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    let path = behind.find('/').and_then(|at| behind.get(at..)).unwrap_or_default();
    path.split(['?', '#']).next().unwrap_or_default().to_owned()
}

pub(super) fn query_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            _ => {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

pub(super) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\0' => escaped.push('\u{fffd}'),
            _ => escaped.push(letter),
        }
    }
    escaped
}

pub(super) fn js(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '\'' | '"' => escaped.extend(['\\', letter]),
            '<' | '>' | '&' | '=' | '\0'..='\u{1f}' => {
                let _ = write!(escaped, "\\u{:04X}", u32::from(letter));
            }
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_domains_go() {
        for (address, without, name) in [
            ("m1.example.com:2379", "m1.example.com", "m1:2379"),
            ("m1.example.com", "m1.example.com", "m1"),
            ("10.0.0.1:2379", "10.0.0.1", "10.0.0.1:2379"),
            ("[::1]:2379", "::1", "[::1]:2379"),
            ("::1", "::1", "::1"),
            ("a:b:c", "a:b:c", "a:b:c"),
        ] {
            assert_eq!(
                (without_port(address), without_domain(address)),
                (without.into(), name.into()),
                "{address}"
            );
        }
    }

    #[test]
    fn the_path_of_a_url() {
        for (url, path) in [("https://h/etcd/", "/etcd/"), ("https://h", ""), ("http://h:1/a?b=/c", "/a")] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }
}
