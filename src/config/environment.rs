//! The process environment as configuration: `ETCD_MONITOR__STORE__URL` sets `store.url`.

use std::collections::BTreeMap;

/// Names that start so, with two underscores, override a key of the file.
pub const PREFIX: &str = "ETCD_MONITOR__";

/// Environment variables by name.
pub type Environment = BTreeMap<String, String>;

/// The variables of this process; those that are not UTF-8 are left out.
pub fn process_environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The overrides in `environment`: the variable, its key path (`__` separates, `_` becomes `-`, case is
/// lowered), the value.
pub fn overrides(environment: &Environment) -> Vec<(&str, Vec<String>, &str)> {
    let named =
        environment.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)));
    named
        .map(|(variable, name, value)| {
            let path = name.split("__").map(|part| part.to_lowercase().replace('_', "-")).collect();
            (variable.as_str(), path, value.as_str())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_key_paths() {
        let environment = Environment::from([
            ("ETCD_MONITOR__STORE__MAX_SIZE".to_owned(), "2GiB".to_owned()),
            ("ETCD_MONITOR_CONFIG".to_owned(), "x".to_owned()),
            ("HOME".to_owned(), "/".to_owned()),
        ]);
        let path = vec!["store".to_owned(), "max-size".to_owned()];
        assert_eq!(overrides(&environment), [("ETCD_MONITOR__STORE__MAX_SIZE", path, "2GiB")]);
    }
}
