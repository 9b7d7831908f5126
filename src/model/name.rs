//! Names and ids that are more than text: parsed once, valid from then on.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name that does not follow its grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {expected}")]
pub struct NameError {
    what: &'static str,
    value: String,
    expected: &'static str,
}

/// A configured cluster's name: 1 to 40 characters of `a-z`, `0-9` and `-`, starting with a letter or
/// digit. It becomes a path of the report site, so nothing else is let in. Cloning is one reference count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(Arc<str>);

impl ClusterName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let ok = (1..=40).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(NameError {
                what: "cluster name",
                value: text.to_owned(),
                expected: "1 to 40 characters of a-z, 0-9 and '-', starting with a letter or digit",
            })
        }
    }
}

impl TryFrom<String> for ClusterName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One member's stable `host:port`, the only per-member label of a series. Cloning is one reference count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Instance(Arc<str>);

impl Instance {
    /// The `host:port` text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The instance of an endpoint URL or bare `host:port`: scheme, user info and path are cut off.
    ///
    /// # Errors
    /// When no `host:port` remains.
    pub fn of_endpoint(endpoint: &str) -> Result<Self, NameError> {
        let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        host_port.parse()
    }

    /// The part before the port; an IPv6 address in its brackets.
    pub fn host(&self) -> &str {
        self.0.rsplit_once(':').map_or(&*self.0, |(host, _)| host)
    }

    /// Whether only this machine reaches it: `localhost`, `127.0.0.0/8` and `[::1]`.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse::<core::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Instance {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let valid = text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && port.parse::<u16>().is_ok()
                && (!host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
                && !host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/')
        });
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(NameError { what: "instance", value: text.to_owned(), expected: "host:port" })
        }
    }
}

impl TryFrom<String> for Instance {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Instance> for String {
    fn from(instance: Instance) -> Self {
        instance.as_str().to_owned()
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! etcd_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                u64::from_str_radix(text.trim_start_matches("0x"), 16).map(Self).map_err(|_| NameError {
                    what: "etcd id",
                    value: text.to_owned(),
                    expected: "up to 16 hexadecimal digits",
                })
            }
        }

        // A bare u64 loses digits in JSON readers that use doubles, so ids travel as hexadecimal text.
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

etcd_id!(
    /// A member's raft id; printed as etcdctl prints it, in hexadecimal.
    MemberId
);
etcd_id!(
    /// A cluster's id; printed in hexadecimal.
    ClusterId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names_are_safe_as_paths() {
        for good in ["a", "prod-eu-1", "0", &"x".repeat(40)] {
            assert!(good.parse::<ClusterName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a/b", "a.b", "a b", "é", &"x".repeat(41)] {
            assert!(bad.parse::<ClusterName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn instance_drops_scheme_user_and_path() {
        let of = |text| Instance::of_endpoint(text).map(String::from);
        assert_eq!(of("https://u:p@10.0.0.1:2379/x").as_deref(), Ok("10.0.0.1:2379"));
        assert_eq!(of("etcd-0:2379").as_deref(), Ok("etcd-0:2379"));
        assert_eq!(of("http://[::1]:2379").as_deref(), Ok("[::1]:2379"));
        for bad in ["http://host", "host:", ":2379", "host:99999", "::1:2379", "a b:1"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_is_what_no_other_machine_reaches() {
        for (text, loopback) in [
            ("127.0.0.1:2381", true),
            ("127.1.2.3:1", true),
            ("[::1]:1", true),
            ("localhost:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("10.0.0.1:1", false),
            ("etcd-0:1", false),
        ] {
            assert_eq!(text.parse().map(|instance: Instance| instance.is_loopback()), Ok(loopback), "{text}");
        }
    }

    #[test]
    fn ids_travel_as_hexadecimal_text() {
        let json = serde_json::to_string(&MemberId(9_441_771_683_290_611_585)).expect("serializes");
        assert_eq!(json, "\"8307e95240e0ff81\"");
        assert_eq!(serde_json::from_str::<MemberId>(&json).expect("parses").0, 9_441_771_683_290_611_585);
    }
}
