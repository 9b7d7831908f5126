//! Which addresses a channel may connect to.
//!
//! Who can write a URL into the configuration must not get requests into the network of the monitor, to the
//! metadata service of a cloud for one. Refused are all addresses that are not globally reachable (the
//! special-purpose registries of RFC 6890), unless the channel says `allow-private = true`. A name is checked
//! when it is resolved for a connection, and the connection goes to the address that was checked, so that a
//! name that changes between look and use gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Whether anybody on the Internet could be behind it.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let assigned = (a, b, c) == (192, 0, 0) || (a == 198 && (b == 18 || b == 19));
    !(a == 0
        || a >= 240
        || shared
        || assigned
        || v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_documentation()
        || v4.is_multicast())
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    if let Some(v4) = v6.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [first, second, third, ..] = v6.segments();
    // Global unicast is 2000::/3. Out of it: 6to4 and Teredo, which carry IPv4 inside, and documentation.
    let carries_v4 = first == 0x2002 || (first == 0x2001 && second == 0);
    let documentation = (first == 0x2001 && second == 0xdb8) || (first == 0x3fff && second < 0x1000);
    let benchmarking = first == 0x2001 && second == 2 && third == 0;
    first & 0xe000 == 0x2000 && !(carries_v4 || documentation || benchmarking)
}

/// A URL that a channel may be given. Names are looked at again when they are resolved.
///
/// # Errors
/// What is wrong with it; the text does not hold the URL, whose path may be a secret.
pub(super) fn checked_url(text: &str, allow_private: bool) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|_| "its url is not a valid URL".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("its url is neither http nor https".to_owned());
    }
    if allow_private {
        return Ok(url);
    }
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let is_private = match host.parse::<IpAddr>() {
        Ok(address) => !is_public(address),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    };
    if is_private {
        return Err(private(&host));
    }
    if url.scheme() == "http" {
        return Err(
            "its url is http: alerts go over https, or with allow-private = true within a network".to_owned()
        );
    }
    Ok(url)
}

/// Host and port.
pub(super) fn end_of(url: &Url) -> String {
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

fn private(host: &str) -> String {
    format!("{host} is a private address; set allow-private = true in the channel if that is meant")
}

/// Resolves names to public addresses only.
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let public = only_public(&found);
            if public.is_empty() {
                return Err(private(host).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

fn only_public(found: &[SocketAddr]) -> Vec<SocketAddr> {
    found.iter().filter(|address| is_public(address.ip())).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_internet_can_reach_is_public() {
        for (address, public) in [
            ("8.8.8.8", true),
            ("2606:4700::1111", true),
            ("::ffff:8.8.8.8", true),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.0.1", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("198.19.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("::ffff:127.0.0.1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("64:ff9b::a00:1", false),
            ("2002:7f00:1::", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_public(address.parse().expect("an address")), public, "{address}");
        }
    }

    #[test]
    fn urls_are_checked_before_anything_is_sent() {
        for (url, wrong) in [
            ("https://hooks.example.com/x", None),
            ("https://8.8.8.8/", None),
            ("http://hooks.example.com/x", Some("https")),
            ("https://localhost:9093/", Some("private")),
            ("https://10.0.0.1/", Some("private")),
            ("https://[::1]:80/", Some("private")),
            // The URL standard reads these as 127.0.0.1, too.
            ("https://2130706433/", Some("private")),
            ("https://0x7f.1/", Some("private")),
            ("ftp://example.com/", Some("neither")),
            ("no url", Some("not a valid URL")),
        ] {
            match (checked_url(url, false), wrong) {
                (Ok(_), None) => {}
                (Err(message), Some(part)) => assert!(message.contains(part), "{url}: {message}"),
                (found, _) => panic!("{url}: {found:?}"),
            }
        }
        assert!(checked_url("http://127.0.0.1:9093/", true).is_ok());
    }

    #[test]
    fn a_name_with_both_kinds_of_addresses_leads_to_the_public_ones() {
        let of = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert_eq!(only_public(&[of("10.0.0.1:0"), of("8.8.8.8:0")]), [of("8.8.8.8:0")]);
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_refused_when_resolved() {
        let name = "localhost".parse::<Name>().expect("a name");
        let refused = PublicOnly.resolve(name).await.err().expect("refused").to_string();
        assert!(refused.contains("allow-private"), "{refused}");
    }
}
