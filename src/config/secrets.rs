//! Secret references → secrets, at the last moment and in one place.

use secrecy::SecretString;

use super::environment::Environment;
use crate::model::SecretRef;

/// A secret that cannot be had. The message names the reference, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable {0} is not set")]
    Unset(String),
    #[error("the secret file {path} cannot be read: {reason}")]
    Unreadable { path: String, reason: String },
}

/// Reads the secret that `reference` names.
///
/// # Errors
/// When the variable is not set or the file cannot be read.
pub fn resolve(reference: &SecretRef, environment: &Environment) -> Result<SecretString, SecretError> {
    match reference {
        SecretRef::Env(name) => environment
            .get(name)
            .cloned()
            .map(SecretString::from)
            .ok_or_else(|| SecretError::Unset(name.clone())),
        SecretRef::File(path) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(SecretString::from(text.trim_end_matches(['\n', '\r']).to_owned())),
            Err(error) => {
                Err(SecretError::Unreadable { path: path.display().to_string(), reason: error.to_string() })
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_comes_from_where_its_reference_points_and_is_not_printed() {
        let environment = Environment::from([("PW".to_owned(), "hunter2".to_owned())]);
        let secret = resolve(&SecretRef::Env("PW".to_owned()), &environment).expect("set");
        assert_eq!(secret.expose_secret(), "hunter2");
        assert!(!format!("{secret:?}").contains("hunter2"));

        let file = tempfile::NamedTempFile::new().expect("temp file");
        std::fs::write(file.path(), "s3cret\n").expect("written");
        let secret = resolve(&SecretRef::File(file.path().to_owned()), &environment).expect("readable");
        assert_eq!(secret.expose_secret(), "s3cret");
    }

    #[test]
    fn a_missing_secret_names_its_reference() {
        let unset = resolve(&SecretRef::Env("NOPE".to_owned()), &Environment::new()).expect_err("unset");
        assert!(unset.to_string().contains("NOPE"));
        let gone =
            resolve(&SecretRef::File("/nonexistent/pw".into()), &Environment::new()).expect_err("gone");
        assert!(gone.to_string().contains("/nonexistent/pw"));
    }
}
